//! Room that all clients share: turns, and bytes of requests and of answers.
//!
//! Who takes room when there is none waits. Three rules keep those who hold room by doing nothing from holding up the
//! others:
//!
//! - Whoever waits for its client gives way. Where somebody waits for room, the client that has kept its own waiting for
//!   longest is hung up on, if that is longer than [`PATIENCE`].
//! - No address holds more than three quarters, and one that holds less goes first.
//! - Of one address, those go first for whose repository it holds least, then those that have been answered before on their
//!   connection, then the newest: in a crowd that cannot all be served the oldest has given up already.
//!
//! Where waiting costs something too, as answers that lie in files do, there is a bound on it: beyond that, who would come
//! last is hung up on.
//!
//! Knows nothing of sockets or processes: who holds room marks what it waits for, and [`Client::hang_up`] ends it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use core::net::{IpAddr, SocketAddr};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// How long a client may keep room waiting that somebody else could use.
pub const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may where the room that such clients hold is too much, though nobody waits.
const LONG_PATIENCE: Duration = Duration::from_secs(5);
/// From when on a client counts as one that keeps its room waiting.
const STALLED: Duration = Duration::from_millis(250);
/// For how long it is not known of a process what it will take, nor of its client whether it takes anything.
const YOUNG: Duration = Duration::from_millis(250);
/// Bytes of memory that are set aside for what is not known.
const GROWTH: u64 = 40 << 20;

/// Who takes room.
#[derive(Debug, Clone)]
pub struct Client {
    /// Whose share it counts for.
    pub address: IpAddr,
    /// The repository that it wants something of, once that is known.
    pub repository: Option<Arc<Path>>,
    /// The connection: this end, and the other one.
    pub ends: (SocketAddr, SocketAddr),
    /// Whether it has said something after it was answered, and so takes what it is sent.
    pub proven: Arc<AtomicBool>,
    /// Ends the connection, and all that is done for it.
    pub hang_up: CancellationToken,
}

/// What a holder waits for: since when, in milliseconds since [`START`]; 0 is not at all.
#[derive(Debug, Default)]
struct Marks {
    /// For its client to take what it is sent.
    blocked: AtomicU64,
    /// For its client to say something.
    silent: AtomicU64,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn since_start(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

impl Marks {
    /// Returns for how long the client has kept its holder waiting.
    fn waiting(&self, now: Instant) -> Duration {
        let since = |mark: &AtomicU64| Some(mark.load(Relaxed)).filter(|since| *since > 0);
        let first = [since(&self.blocked), since(&self.silent)].into_iter().flatten().min();
        Duration::from_millis(first.map_or(0, |first| since_start(now).saturating_sub(first)))
    }
}

struct Holder {
    client: Client,
    amount: u64,
    marks: Arc<Marks>,
    began: Instant,
    /// What of its answer was not acknowledged, when that was last looked at.
    unsent: Option<u64>,
}

struct Waiting {
    client: Client,
    amount: u64,
    /// The holder that wants more; none for a new one.
    holder: Option<u64>,
    granted: oneshot::Sender<Option<Hold>>,
}

#[derive(Default)]
struct Inner {
    used: u64,
    next: u64,
    holders: HashMap<u64, Holder>,
    /// The newest last.
    waiting: Vec<Waiting>,
    /// Clients that were hung up on.
    ended: u64,
}

/// Room.
pub struct Pool {
    me: Weak<Pool>,
    most: u64,
    /// What one address may hold.
    share: u64,
    /// What all who wait may wait for together.
    most_waiting: u64,
    /// Bytes of memory beyond which none begins beside holders that are young or stalled.
    memory: Option<u64>,
    /// Bytes of memory that are in use.
    measured: AtomicU64,
    inner: Mutex<Inner>,
}

/// Some of the room; given back when it is dropped.
pub struct Hold {
    pool: Arc<Pool>,
    id: u64,
    marks: Arc<Marks>,
}

impl Pool {
    /// Returns room of `most` units, of which one address may hold three quarters.
    pub fn new(most: u64) -> Arc<Self> {
        Self::with(most, most - most / 4, u64::MAX, None)
    }

    /// Returns room of `most` units, of which one address may hold three quarters, and all together may wait for as much.
    pub fn of_what_is_made(most: u64) -> Arc<Self> {
        Self::with(most, most - most / 4, most, None)
    }

    /// Returns room of `most` units that one address may hold alone.
    pub fn unshared(most: u64) -> Arc<Self> {
        Self::with(most, most, u64::MAX, None)
    }

    /// Returns room for `most` processes. While they take more than `memory` bytes, none begins beside those that are young,
    /// or whose clients take nothing; where all do their part, `most` alone counts.
    pub fn of_processes(most: u64, memory: u64) -> Arc<Self> {
        Self::with(most, most - most / 4, u64::MAX, Some(memory))
    }

    fn with(most: u64, share: u64, most_waiting: u64, memory: Option<u64>) -> Arc<Self> {
        let (measured, inner) = (AtomicU64::new(0), Mutex::default());
        Arc::new_cyclic(|me| Pool { me: Weak::clone(me), most, share, most_waiting, memory, measured, inner })
    }

    /// Takes note of how many bytes of memory are in use.
    pub fn measured(&self, bytes: u64) {
        self.measured.store(bytes, Relaxed);
    }

    /// Takes `amount`, or all that one client may have if that is less, as soon as it is this client's turn.
    pub async fn take(&self, client: &Client, amount: u64) -> Hold {
        match self.wait(client, amount, None).await {
            Some(hold) => hold,
            None => std::future::pending().await, // only where the server ends
        }
    }

    async fn wait(&self, client: &Client, amount: u64, holder: Option<u64>) -> Option<Hold> {
        let (granted, grant) = oneshot::channel();
        let amount = amount.min(self.share);
        let waiting = Waiting { client: client.clone(), amount, holder, granted };
        self.lock().waiting.push(waiting);
        self.serve(Instant::now());
        self.shed();
        grant.await.ok().flatten()
    }

    /// Returns how much is held, how many wait, and how many were hung up on.
    pub fn figures(&self) -> (u64, u64, u64) {
        let inner = self.lock();
        (inner.used, inner.waiting.len() as u64, inner.ended)
    }

    /// Returns once nothing is held.
    pub async fn emptied(&self) {
        while self.lock().used > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Returns the connections whose clients have kept room waiting for a while.
    pub fn suspects(&self, now: Instant) -> Vec<(SocketAddr, SocketAddr)> {
        let inner = self.lock();
        let stalled = |holder: &&Holder| holder.marks.waiting(now) >= STALLED;
        inner.holders.values().filter(stalled).map(|holder| holder.client.ends).collect()
    }

    /// Takes note of how many bytes each connection has not been acknowledged: where `enough` have been since the last
    /// time, its client takes what it is sent.
    pub fn looked(&self, unsent: &HashMap<(SocketAddr, SocketAddr), u64>, enough: u64, now: Instant) {
        for holder in self.lock().holders.values_mut() {
            let left = unsent.get(&holder.client.ends).copied();
            let took = holder.unsent.zip(left).is_some_and(|(before, left)| left + enough <= before);
            if took && holder.marks.blocked.load(Relaxed) > 0 {
                holder.marks.blocked.store(since_start(now), Relaxed);
            }
            if took || holder.unsent.is_none() || holder.marks.waiting(now) < STALLED {
                holder.unsent = left;
            }
        }
    }

    /// Gives room to whoever may have it, and hangs up on those who keep it from others.
    pub fn tick(&self, now: Instant) {
        self.serve(now);
        let mut inner = self.lock();
        inner.waiting.retain(|waiting| !waiting.granted.is_closed());
        let wanted: u64 = inner.waiting.iter().map(|waiting| waiting.amount).sum();
        let (gone, held): (Vec<&Holder>, Vec<&Holder>) =
            inner.holders.values().partition(|holder| holder.client.hang_up.is_cancelled());
        let mut freed: u64 = gone.iter().map(|holder| holder.amount).sum();
        let mut stalled: Vec<(Duration, &Holder)> =
            held.into_iter().map(|holder| (holder.marks.waiting(now), holder)).collect();
        stalled.retain(|(waited, _)| *waited >= PATIENCE);
        stalled.sort_by_key(|(waited, _)| std::cmp::Reverse(*waited));
        // What these have in memory goes by itself where it is too much, though nobody waits for it.
        let over = self.memory.is_some_and(|most| self.measured.load(Relaxed) > most);
        let mut ended = 0;
        for (waited, holder) in stalled {
            if freed >= wanted && !(over && waited >= LONG_PATIENCE) {
                break;
            }
            holder.client.hang_up.cancel();
            freed += holder.amount;
            ended += 1;
        }
        inner.ended += ended;
    }

    /// Gives room to whoever may have it.
    fn serve(&self, now: Instant) {
        let mut refused = Vec::new();
        let mut inner = self.lock();
        while let Some(at) = self.next(&inner, now) {
            let waiting = inner.waiting.remove(at);
            inner.used += waiting.amount;
            let hold = match waiting.holder {
                Some(id) => {
                    match inner.holders.get_mut(&id) {
                        Some(holder) => holder.amount += waiting.amount,
                        None => inner.used -= waiting.amount,
                    }
                    None
                }
                None => self.begin(&mut inner, waiting.client, waiting.amount, now),
            };
            if let Err(Some(hold)) = waiting.granted.send(hold) {
                refused.push(hold);
            }
        }
        drop(inner);
        drop(refused); // gives back, and so locks
    }

    /// Hangs up on those who would come last, until no more is waited for than may be.
    fn shed(&self) {
        let mut inner = self.lock();
        let Inner { holders, waiting: all, ended, .. } = &mut *inner;
        let held = Held::of(holders);
        loop {
            let waiting = all.iter().filter(|waiting| !waiting.client.hang_up.is_cancelled());
            if waiting.clone().map(|waiting| waiting.amount).sum::<u64>() <= self.most_waiting {
                return;
            }
            let Some(last) = waiting.rev().max_by_key(|waiting| held.rank(&waiting.client)) else { return };
            last.client.hang_up.cancel();
            *ended += 1;
        }
    }

    /// Returns who is next, if there is room for it.
    fn next(&self, inner: &Inner, now: Instant) -> Option<usize> {
        let held = Held::of(&inner.holders);
        let full = self.memory.is_some_and(|most| self.is_full(inner, most, now));
        let may = |waiting: &Waiting| {
            held.by(&waiting.client) + waiting.amount <= self.share && (!full || waiting.holder.is_some())
        };
        let all = inner.waiting.iter().enumerate().rev();
        let (at, first) =
            all.filter(|(_, waiting)| may(waiting)).min_by_key(|(_, waiting)| held.rank(&waiting.client))?;
        (inner.used + first.amount <= self.most).then_some(at)
    }

    /// Returns whether there is no memory for one more.
    fn is_full(&self, inner: &Inner, most: u64, now: Instant) -> bool {
        let young = inner.holders.values().filter(|holder| now.saturating_duration_since(holder.began) < YOUNG);
        let young = young.count() as u64;
        let stalled = inner.holders.values().any(|holder| holder.marks.waiting(now) >= STALLED);
        (young > 0 || stalled) && self.measured.load(Relaxed) + (young + 1) * GROWTH > most
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What each address holds, and for each repository.
#[derive(Default)]
struct Held<'a> {
    by_address: HashMap<IpAddr, u64>,
    by_repository: HashMap<(IpAddr, Option<&'a Path>), u64>,
}

impl<'a> Held<'a> {
    fn of(holders: &'a HashMap<u64, Holder>) -> Self {
        let mut held = Held::default();
        for Holder { client, amount, .. } in holders.values() {
            *held.by_address.entry(client.address).or_default() += amount;
            *held.by_repository.entry((client.address, client.repository.as_deref())).or_default() += amount;
        }
        held
    }

    /// Returns what the client's address holds.
    fn by(&self, client: &Client) -> u64 {
        self.by_address.get(&client.address).copied().unwrap_or(0)
    }

    /// Returns how late it is the client's turn: the lower, the earlier.
    fn rank(&self, client: &Client) -> (u64, u64, bool) {
        let repository = (client.address, client.repository.as_deref());
        let of_it = self.by_repository.get(&repository).copied().unwrap_or(0);
        (self.by(client), of_it, !client.proven.load(Relaxed))
    }
}

impl Pool {
    fn begin(&self, inner: &mut Inner, client: Client, amount: u64, now: Instant) -> Option<Hold> {
        let pool = self.me.upgrade()?;
        let id = inner.next;
        inner.next += 1;
        let marks = Arc::<Marks>::default();
        let holder = Holder { client, amount, marks: Arc::clone(&marks), began: now, unsent: None };
        inner.holders.insert(id, holder);
        Some(Hold { pool, id, marks })
    }
}

impl Hold {
    /// Takes more, as soon as it is this client's turn.
    pub async fn grow(&self, amount: u64) {
        let client = self.pool.lock().holders.get(&self.id).map(|holder| holder.client.clone());
        if let Some(client) = client {
            self.pool.wait(&client, amount, Some(self.id)).await;
        }
    }

    /// The client does not take what it is sent.
    pub fn blocked(&self) {
        let _ = self.marks.blocked.compare_exchange(0, since_start(Instant::now()), Relaxed, Relaxed);
    }

    /// The client has taken something.
    pub fn flowing(&self) {
        self.marks.blocked.store(0, Relaxed);
        if self.marks.silent.load(Relaxed) > 0 {
            self.marks.silent.store(since_start(Instant::now()), Relaxed);
        }
    }

    /// Returns what marks this from elsewhere that the client has something to say.
    pub fn mark(&self) -> Mark {
        Mark(Arc::clone(&self.marks))
    }

    /// The client has something to say, and does not.
    pub fn silent(&self) {
        self.marks.silent.store(since_start(Instant::now()), Relaxed);
    }

    /// The client has said all that it is waited for.
    pub fn heard(&self) {
        self.marks.silent.store(0, Relaxed);
    }
}

/// Marks what a [`Hold`] waits for.
#[derive(Clone)]
pub struct Mark(Arc<Marks>);

impl Mark {
    /// The client has something to say, and does not.
    pub fn silent(&self) {
        self.0.silent.store(since_start(Instant::now()), Relaxed);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.pool.lock();
        if let Some(holder) = inner.holders.remove(&self.id) {
            inner.used = inner.used.saturating_sub(holder.amount);
        }
        drop(inner);
        self.pool.serve(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_like::now_or_never;

    /// Enough of an executor for futures that are ready, or are to be looked at once.
    mod futures_like {
        use std::future::Future;
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub fn now_or_never<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
            match future.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(value) => Some(value),
                Poll::Pending => None,
            }
        }
    }

    fn client(last: u8) -> Client {
        let address = IpAddr::from([192, 0, 2, last]);
        let end = SocketAddr::new(address, 1);
        Client {
            address,
            repository: None,
            ends: (end, end),
            proven: Arc::default(),
            hang_up: CancellationToken::new(),
        }
    }

    macro_rules! taking {
        ($name:ident, $pool:expr, $client:expr, $amount:expr) => {
            let mut $name = Box::pin($pool.take($client, $amount));
        };
    }

    #[test]
    fn the_newest_of_the_address_that_holds_least_goes_first() {
        let pool = Pool::new(4);
        let (a, b) = (client(1), client(2));
        let held: Vec<Hold> =
            (0..3).map(|_| now_or_never(Box::pin(pool.take(&a, 1)).as_mut()).expect("room")).collect();
        taking!(fourth, pool, &a, 1);
        assert!(now_or_never(fourth.as_mut()).is_none(), "no more than three quarters");
        let other = now_or_never(Box::pin(pool.take(&b, 1)).as_mut()).expect("room for another address");
        taking!(older, pool, &b, 1);
        taking!(newer, pool, &b, 1);
        assert!(now_or_never(older.as_mut()).is_none() && now_or_never(newer.as_mut()).is_none());
        drop(held);
        assert!(now_or_never(newer.as_mut()).is_some());
        drop(other);
        assert!(now_or_never(older.as_mut()).is_some());
    }

    #[test]
    fn who_keeps_room_waiting_gives_way_and_who_works_does_not() {
        let pool = Pool::new(2);
        let (deaf, busy, good) = (client(1), client(2), client(3));
        let first = now_or_never(Box::pin(pool.take(&deaf, 1)).as_mut()).expect("room");
        let second = now_or_never(Box::pin(pool.take(&busy, 1)).as_mut()).expect("room");
        first.blocked();
        taking!(third, pool, &good, 1);
        assert!(now_or_never(third.as_mut()).is_none());
        pool.tick(Instant::now());
        assert!(!deaf.hang_up.is_cancelled(), "not at once");
        pool.tick(Instant::now() + PATIENCE);
        assert!(deaf.hang_up.is_cancelled() && !busy.hang_up.is_cancelled());
        drop(first);
        assert!(now_or_never(third.as_mut()).is_some());
        second.blocked();
        pool.tick(Instant::now() + 10 * PATIENCE);
        assert!(!busy.hang_up.is_cancelled(), "nobody waits");
    }

    #[test]
    fn who_takes_slowly_is_seen_to_take() {
        let pool = Pool::new(1);
        let slow = client(1);
        let hold = now_or_never(Box::pin(pool.take(&slow, 1)).as_mut()).expect("room");
        hold.blocked();
        let later = Instant::now() + STALLED;
        assert_eq!(pool.suspects(later), [slow.ends]);
        for (unsent, suspected) in [(90_000, true), (89_000, true), (80_000, false)] {
            pool.looked(&HashMap::from([(slow.ends, unsent)]), 4096, later);
            assert_eq!(!pool.suspects(later).is_empty(), suspected, "{unsent}");
        }
    }

    #[test]
    fn room_grows_and_is_given_back_whoever_gives_up() {
        let pool = Pool::new(100);
        let (a, b) = (client(1), client(2));
        let hold = now_or_never(Box::pin(pool.take(&a, 10)).as_mut()).expect("room");
        assert!(now_or_never(Box::pin(hold.grow(60)).as_mut()).is_some());
        assert_eq!(pool.figures().0, 70);
        {
            taking!(gives_up, pool, &b, 40);
            assert!(now_or_never(gives_up.as_mut()).is_none());
        }
        drop(hold);
        assert_eq!(pool.figures().0, 0);
        assert!(now_or_never(Box::pin(pool.take(&b, 1000)).as_mut()).is_some(), "never more than its share");
    }

    #[test]
    fn who_was_answered_before_goes_first() {
        let pool = Pool::unshared(1);
        let held = now_or_never(Box::pin(pool.take(&client(1), 1)).as_mut()).expect("room");
        let (proven, newer) = (client(2), client(2));
        proven.proven.store(true, Relaxed);
        taking!(older, pool, &proven, 1);
        taking!(newest, pool, &newer, 1);
        assert!(now_or_never(older.as_mut()).is_none() && now_or_never(newest.as_mut()).is_none());
        drop(held);
        assert!(now_or_never(newest.as_mut()).is_none() && now_or_never(older.as_mut()).is_some());
    }

    #[test]
    fn the_repository_that_less_is_held_for_goes_first() {
        let pool = Pool::unshared(2);
        let of = |name: &str| Client { repository: Some(Path::new(name).into()), ..client(1) };
        let first = now_or_never(Box::pin(pool.take(&of("a"), 1)).as_mut()).expect("room");
        let _second = now_or_never(Box::pin(pool.take(&of("a"), 1)).as_mut()).expect("room");
        let (another, proven) = (of("b"), of("a"));
        proven.proven.store(true, Relaxed);
        taking!(other, pool, &another, 1);
        taking!(same, pool, &proven, 1);
        assert!(now_or_never(other.as_mut()).is_none() && now_or_never(same.as_mut()).is_none());
        drop(first);
        assert!(now_or_never(same.as_mut()).is_none() && now_or_never(other.as_mut()).is_some());
    }

    #[test]
    fn no_more_is_waited_for_than_there_is_room() {
        let pool = Pool::of_what_is_made(100);
        let (a, old, new, other) = (client(1), client(1), client(1), client(2));
        let _held = now_or_never(Box::pin(pool.take(&a, 70)).as_mut()).expect("room");
        taking!(first, pool, &old, 50);
        taking!(second, pool, &new, 50);
        assert!(now_or_never(first.as_mut()).is_none() && now_or_never(second.as_mut()).is_none());
        assert!(!old.hang_up.is_cancelled(), "so much may wait");
        taking!(third, pool, &other, 50);
        assert!(now_or_never(third.as_mut()).is_none());
        assert!(old.hang_up.is_cancelled(), "the oldest of those that hold most");
        assert!(!new.hang_up.is_cancelled() && !other.hang_up.is_cancelled());
    }

    #[test]
    fn few_begin_at_once_and_none_beside_who_holds_memory_and_waits() {
        let pool = Pool::of_processes(16, 4 * GROWTH);
        let a = client(1);
        let held: Vec<Hold> =
            (0..4).map(|_| now_or_never(Box::pin(pool.take(&a, 1)).as_mut()).expect("room")).collect();
        taking!(fifth, pool, &a, 1);
        assert!(now_or_never(fifth.as_mut()).is_none(), "what these will take is not known");
        pool.measured(10 * GROWTH);
        held[0].blocked();
        pool.tick(Instant::now() + STALLED);
        assert!(now_or_never(fifth.as_mut()).is_none(), "one waits for its client");
        held[0].flowing();
        pool.tick(Instant::now() + YOUNG);
        assert!(now_or_never(fifth.as_mut()).is_some(), "all do their part");
    }
}
