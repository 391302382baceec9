//! The `fetch` command of protocol v2: reading git's request, adding to it, and answering it.
//!
//! What may be added, and why an `ACK` of ours must never reach git, is in `docs/architecture.md` ("Traps").

use std::collections::{BTreeSet, HashSet};

use gix::ObjectId;

use super::Pkt;

/// A request as git sent it, and what has been read in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest {
    packets: Vec<Pkt>,
    /// The ids that git wants.
    pub wants: Vec<ObjectId>,
    /// The commits that git says it has.
    pub haves: Vec<ObjectId>,
    /// Whether git asks for the pack at once.
    pub done: bool,
    /// Whether annotated tags shall come with what they point to.
    pub include_tag: bool,
    /// Which part of what the wants reach is asked for. Objects from elsewhere may shorten a request for the whole only.
    pub scope: Scope,
}

/// Which part of what the wants reach a request asks for (gitprotocol-v2(5), "fetch"). The default is the whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The commits that git has without their parents.
    pub shallow: Vec<ObjectId>,
    /// How deep the history shall be, each line of it.
    pub deepen: Vec<Deepen>,
    /// Which objects the server shall leave out, in the words of `git rev-list --filter`.
    pub filter: Option<String>,
    /// The first line that is not understood here: `want-ref`, `wait-for-done`, `packfile-uris`, `sideband-all`, one that
    /// is damaged, or one of a newer git. Nobody knows what its answer has to be.
    pub unknown: Option<String>,
}

/// A line that says how deep the history shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deepen {
    /// So many commits from the wants.
    To(u32),
    /// That number counts from where the history ends now.
    Relative,
    /// What is not older than this, in seconds since 1970.
    Since(i64),
    /// What this ref does not reach.
    Not(String),
}

impl Scope {
    /// Returns whether all that the wants reach is asked for.
    pub fn is_whole(&self) -> bool {
        *self == Scope::default()
    }

    /// Returns whether some of what the wants reach is not asked for.
    pub fn is_part(&self) -> bool {
        !self.deepen.is_empty() || self.filter.is_some()
    }

    /// Returns the lines that say how deep the history shall be.
    pub fn deepen_lines(&self) -> impl Iterator<Item = String> {
        self.deepen.iter().map(|deepen| match deepen {
            Deepen::To(depth) => format!("deepen {depth}"),
            Deepen::Relative => "deepen-relative".into(),
            Deepen::Since(time) => format!("deepen-since {time}"),
            Deepen::Not(name) => format!("deepen-not {name}"),
        })
    }

    /// Takes a line that is neither a want nor a have, nor about the manner of the answer.
    fn take(&mut self, line: &str) {
        let understood = match line.split_once(' ') {
            Some(("shallow", hex)) => hex.parse().map(|id| self.shallow.push(id)).is_ok(),
            Some(("deepen", depth)) => depth.parse().map(|depth| self.deepen.push(Deepen::To(depth))).is_ok(),
            Some(("deepen-since", time)) => time.parse().map(|time| self.deepen.push(Deepen::Since(time))).is_ok(),
            Some(("deepen-not", name)) => {
                self.deepen.push(Deepen::Not(name.to_owned()));
                true
            }
            None if line == "deepen-relative" => {
                self.deepen.push(Deepen::Relative);
                true
            }
            Some(("filter", spec)) => self.filter.replace(spec.to_owned()).is_none(),
            _ => false,
        };
        if !understood {
            self.unknown.get_or_insert_with(|| line.to_owned());
        }
    }
}

impl FetchRequest {
    /// Returns whether `packets` is a `fetch` request.
    pub fn is_fetch(packets: &[Pkt]) -> bool {
        packets.first().is_some_and(|first| first.text() == b"command=fetch")
    }

    /// Reads a request: all packets up to and with its flush.
    pub fn parse(packets: Vec<Pkt>) -> Self {
        let (wants, haves, scope) = (Vec::new(), Vec::new(), Scope::default());
        let mut request = FetchRequest { packets, wants, haves, done: false, include_tag: false, scope };
        let arguments = request.packets.iter().skip_while(|pkt| **pkt != Pkt::Delim).skip(1);
        for pkt in arguments {
            let text = String::from_utf8_lossy(pkt.text());
            let (word, hex) = text.split_once(' ').unwrap_or((&text, ""));
            match (word, hex.parse()) {
                ("want", Ok(oid)) => request.wants.push(oid),
                ("have", Ok(oid)) => request.haves.push(oid),
                _ => match &*text {
                    "done" => request.done = true,
                    "include-tag" => request.include_tag = true,
                    "thin-pack" | "no-progress" | "ofs-delta" | "" => {}
                    line => request.scope.take(line),
                },
            }
        }
        request
    }

    /// Returns the packets to send: git's own without `want` lines for what is `here`, and with `wants` and `haves` added
    /// (each once), in front of `done`. What git wants may well be among the `haves`: it is what mirrors gave.
    pub fn with(&self, here: &HashSet<ObjectId>, wants: &[ObjectId], haves: &[ObjectId]) -> Vec<Pkt> {
        let (wanted, had): (HashSet<_>, HashSet<_>) = (self.wants.iter().collect(), self.haves.iter().collect());
        let extra = (wants.iter().filter(|id| !wanted.contains(id)).map(|id| Pkt::line(&format!("want {id}"))))
            .chain(haves.iter().filter(|id| !had.contains(id)).map(|id| Pkt::line(&format!("have {id}"))));
        let is_tail = |pkt: &Pkt| *pkt == Pkt::Flush || pkt.text() == b"done";
        let tail = self.packets.iter().position(is_tail).unwrap_or(self.packets.len());
        let (head, tail) = self.packets.split_at(tail);
        let is_here = |pkt: &Pkt| {
            let id = pkt.text().strip_prefix(b"want ").and_then(|hex| ObjectId::from_hex(hex).ok());
            id.is_some_and(|id| here.contains(&id))
        };
        head.iter()
            .filter(|pkt| here.is_empty() || !is_here(pkt))
            .cloned()
            .chain(extra)
            .chain(tail.iter().cloned())
            .collect()
    }

    /// Returns the packets to send where all that is asked for is here, but for where history ends: git's own with `haves`
    /// added, and nothing else that is wanted, as history would then begin there as well. The server takes note of the parents of what it hears of, and hears no more of them: so `haves`
    /// come first, and each after its ancestors (`do_got_oid` in git's `upload-pack.c`).
    pub fn claiming(&self, haves: &[ObjectId]) -> Vec<Pkt> {
        let had: HashSet<_> = haves.iter().collect();
        let is_ours = |pkt: &Pkt| {
            let id = pkt.text().strip_prefix(b"have ").and_then(|hex| ObjectId::from_hex(hex).ok());
            id.is_some_and(|id| had.contains(&id))
        };
        let is_tail = |pkt: &Pkt| *pkt == Pkt::Flush || pkt.text() == b"done" || pkt.text().starts_with(b"have ");
        let tail = self.packets.iter().position(is_tail).unwrap_or(self.packets.len());
        let (head, tail) = self.packets.split_at(tail);
        let ours = haves.iter().map(|id| Pkt::line(&format!("have {id}")));
        head.iter().cloned().chain(ours).chain(tail.iter().filter(|pkt| !is_ours(pkt)).cloned()).collect()
    }

    /// Returns the packets as git sent them.
    pub fn untouched(&self) -> &[Pkt] {
        &self.packets
    }

    /// Returns the answer that sends a pack without objects, for a request whose wants are all here already.
    pub fn empty_answer(&self, hash: gix::hash::Kind) -> Vec<Pkt> {
        let mut out = Vec::new();
        if !self.done {
            out.extend([Pkt::line("acknowledgments"), Pkt::line("ready"), Pkt::Delim]);
        }
        let mut pack = vec![1];
        pack.extend_from_slice(&empty_pack(hash));
        out.extend([Pkt::line("packfile"), Pkt::Data(pack), Pkt::Flush]);
        out
    }
}

/// Returns a pack of version 2 with no objects (gitformat-pack(5)).
fn empty_pack(hash: gix::hash::Kind) -> Vec<u8> {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\0".to_vec();
    let mut hasher = gix::hash::hasher(hash);
    hasher.update(&pack);
    if let Ok(trailer) = hasher.try_finalize() {
        pack.extend_from_slice(trailer.as_slice());
    }
    pack
}

/// How an answer changes where history ends (`shallow-info` in gitprotocol-v2(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShallowInfo {
    /// Commits whose parents are not sent.
    pub shallow: BTreeSet<ObjectId>,
    /// Commits whose parents were not here, and are sent.
    pub unshallow: BTreeSet<ObjectId>,
}

impl ShallowInfo {
    /// Takes a line of the section; returns whether it is one.
    pub fn take(&mut self, line: &[u8]) -> bool {
        let id = |word: &[u8]| ObjectId::from_hex(line.strip_prefix(word)?).ok();
        if let Some(id) = id(b"shallow ") {
            self.shallow.insert(id);
        } else if let Some(id) = id(b"unshallow ") {
            self.unshallow.insert(id);
        } else {
            return false;
        }
        true
    }

    /// Returns where history ends then, where it has ended at `before`.
    pub fn after(&self, before: &[ObjectId]) -> BTreeSet<ObjectId> {
        before.iter().chain(&self.shallow).filter(|id| !self.unshallow.contains(*id)).copied().collect()
    }
}

/// Follows the answer to a `fetch` request and drops the `ACK`s of ids that git did not send.
#[derive(Debug, Default)]
pub struct AckFilter {
    ours: HashSet<ObjectId>,
    section: Section,
    shallow_info: ShallowInfo,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Start,
    Acknowledgments,
    ShallowInfo,
    Other,
    Pack,
}

impl AckFilter {
    /// Returns a filter for the answer to a request to which `ours` was added.
    pub fn new(ours: impl IntoIterator<Item = ObjectId>) -> Self {
        AckFilter { ours: ours.into_iter().collect(), ..Self::default() }
    }

    /// Takes the next packet; returns whether it goes on to git.
    pub fn passes(&mut self, pkt: &Pkt) -> bool {
        match (&self.section, pkt) {
            (_, Pkt::Delim) => self.section = Section::Start,
            (Section::Start, Pkt::Data(_)) => {
                self.section = match pkt.text() {
                    b"acknowledgments" => Section::Acknowledgments,
                    b"shallow-info" => Section::ShallowInfo,
                    b"packfile" => Section::Pack,
                    _ => Section::Other,
                }
            }
            (Section::Acknowledgments, Pkt::Data(_)) => {
                let id = pkt.text().strip_prefix(b"ACK ").and_then(|rest| ObjectId::from_hex(rest).ok());
                return !id.is_some_and(|id| self.ours.contains(&id));
            }
            (Section::ShallowInfo, Pkt::Data(_)) => {
                self.shallow_info.take(pkt.text());
            }
            _ => {}
        }
        true
    }

    /// Returns what it has said of where history ends.
    pub fn shallow_info(&self) -> &ShallowInfo {
        &self.shallow_info
    }

    /// Returns whether the pack has begun: nothing but a flush is of interest from here on.
    pub fn in_pack(&self) -> bool {
        self.section == Section::Pack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn request(lines: &[&str]) -> FetchRequest {
        let mut packets = vec![Pkt::Data(b"command=fetch".to_vec()), Pkt::Data(b"agent=git/2".to_vec()), Pkt::Delim];
        packets.extend(lines.iter().map(|line| Pkt::line(line)));
        packets.push(Pkt::Flush);
        assert!(FetchRequest::is_fetch(&packets));
        FetchRequest::parse(packets)
    }

    #[test]
    fn reads_a_request() {
        let got =
            request(&["thin-pack", "include-tag", "ofs-delta", &format!("want {A}"), &format!("have {B}"), "done"]);
        assert_eq!((got.wants.len(), got.haves.len()), (1, 1));
        assert!(got.done && got.include_tag && got.scope.is_whole());
    }

    #[test]
    fn reads_which_part_is_asked_for() {
        let (a, whole) = (A.parse().expect("hex"), Scope::default());
        let shallow = format!("shallow {A}");
        let depth = |line: Deepen| Scope { deepen: vec![line], ..whole.clone() };
        for (line, scope) in [
            (shallow.as_str(), Scope { shallow: vec![a], ..whole.clone() }),
            ("deepen 1", depth(Deepen::To(1))),
            ("deepen-relative", depth(Deepen::Relative)),
            ("deepen-since 1700000000", depth(Deepen::Since(1_700_000_000))),
            ("deepen-not refs/heads/x y", depth(Deepen::Not("refs/heads/x y".into()))),
            ("filter blob:none", Scope { filter: Some("blob:none".into()), ..whole.clone() }),
        ] {
            assert_eq!(request(&[line, "done"]).scope, scope);
            assert!(!scope.is_whole());
        }
        for line in [
            "want-ref refs/heads/x",
            "wait-for-done",
            "packfile-uris https",
            "sideband-all",
            "something-new",
            "want zz",
            "have",
            "shallow aa",
            "deepen -1",
            "deepen-relative now",
            "deepen-since yesterday",
            "filter",
        ] {
            assert_eq!(request(&[line, "deepen x"]).scope, Scope { unknown: Some(line.into()), ..whole.clone() });
        }
        let got = request(&[&shallow, "deepen 2", "deepen-relative", "filter tree:0", "filter blob:none"]).scope;
        assert_eq!((got.shallow.len(), got.deepen), (1, vec![Deepen::To(2), Deepen::Relative]));
        assert_eq!(got.unknown.as_deref(), Some("filter blob:none"));
    }

    #[test]
    fn adds_in_front_of_done_and_only_what_is_new() {
        let (a, b): (ObjectId, ObjectId) = (A.parse().expect("hex"), B.parse().expect("hex"));
        let none = HashSet::new();
        let lines = |got: &[Pkt]| -> Vec<_> {
            got[3..].iter().map(|pkt| String::from_utf8_lossy(pkt.text()).into_owned()).collect()
        };
        let got = request(&[&format!("want {A}"), "done"]).with(&none, &[a], &[a, b]);
        let (want, have) = (|id| format!("want {id}"), |id| format!("have {id}"));
        assert_eq!(lines(&got), [want(A), have(A), have(B), "done".into(), String::new()]);
        let got = request(&[&want(A), &want(B), &have(B), "done"]).with(&HashSet::from([a]), &[], &[a, b]);
        assert_eq!(lines(&got), [want(B), have(B), have(A), "done".into(), String::new()]);
        let got = request(&[&format!("want {A}")]).with(&none, &[], &[b]);
        assert_eq!(got[got.len() - 2].text(), format!("have {B}").as_bytes());
        let got = request(&[&format!("want {A}"), &format!("want {B}")]).with(&HashSet::from([a]), &[], &[]);
        assert_eq!(got[3..], [Pkt::line(&format!("want {B}")), Pkt::Flush]);
    }

    #[test]
    fn claims_come_first() {
        let (a, b): (ObjectId, ObjectId) = (A.parse().expect("hex"), B.parse().expect("hex"));
        let lines = |got: &[Pkt]| -> Vec<_> {
            got[3..].iter().map(|pkt| String::from_utf8_lossy(pkt.text()).into_owned()).collect()
        };
        let (want, have) = (|id| format!("want {id}"), |id| format!("have {id}"));
        let depth = "deepen 1".to_owned();
        let got = request(&[&want(A), &depth, &have(A), "done"]).claiming(&[b, a]);
        assert_eq!(lines(&got), [want(A), depth.clone(), have(B), have(A), "done".into(), String::new()]);
        let got = request(&[&want(A), &depth]).claiming(&[a]);
        assert_eq!(lines(&got), [want(A), depth, have(A), String::new()]);
    }

    #[test]
    fn hears_where_history_ends() {
        let (a, b): (ObjectId, ObjectId) = (A.parse().expect("hex"), B.parse().expect("hex"));
        let mut filter = AckFilter::default();
        let (shallow, unshallow) = (format!("shallow {A}"), format!("unshallow {B}"));
        for line in ["shallow-info", &shallow, &unshallow, "shallow x"] {
            assert!(filter.passes(&Pkt::line(line)));
        }
        filter.passes(&Pkt::Delim);
        filter.passes(&Pkt::line("packfile"));
        assert!(filter.in_pack());
        let info = filter.shallow_info();
        assert_eq!((info.shallow.first(), info.unshallow.first()), (Some(&a), Some(&b)));
        assert_eq!(info.after(&[b]), BTreeSet::from([a]));
    }

    #[test]
    fn answers_with_an_empty_pack() {
        let got = request(&["done"]).empty_answer(gix::hash::Kind::Sha1);
        assert_eq!(got[0], Pkt::line("packfile"));
        // The name that git gives to such a pack.
        let trailer = gix::ObjectId::from_hex(b"029d08823bd8a8eab510ad6ac75c823cfd3ed31e").expect("hex");
        assert_eq!(&got[1].text()[13..], trailer.as_slice());
        assert_eq!(request(&[]).empty_answer(gix::hash::Kind::Sha256).len(), 6);
    }

    #[test]
    fn drops_only_our_acks() {
        let mut filter = AckFilter::new([A.parse().expect("hex")]);
        let answer = [
            (Pkt::line("acknowledgments"), true),
            (Pkt::line(&format!("ACK {A}")), false),
            (Pkt::line(&format!("ACK {B}")), true),
            (Pkt::line("ready"), true),
            (Pkt::Delim, true),
            (Pkt::line("packfile"), true),
            (Pkt::Data(format!("\x01ACK {A}").into_bytes()), true),
            (Pkt::Flush, true),
        ];
        for (pkt, passes) in answer {
            assert_eq!(filter.passes(&pkt), passes, "{pkt:?}");
        }
        assert!(filter.in_pack());
    }
}
