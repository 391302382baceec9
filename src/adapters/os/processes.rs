//! Other processes: which one holds the far end of our pipes, and whether one still lives.
//!
//! Source: proc(5), `/proc/<pid>/stat` and `/proc/<pid>/fd`. Where there is no such file system, nothing is known of a
//! process, and whoever asks has to go by time alone.

use std::io::Error;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

/// How often it is looked whether a process lives, where the system does not tell when it ends.
const LOOK: Duration = Duration::from_millis(50);
/// Ancestors are looked at no further up.
const FARTHEST: usize = 8;

/// A process, told from a later one that has the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
}

impl Process {
    /// Returns this process; `None` where the system does not tell when it began.
    pub fn this() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Returns the process that has this id now, unless it is dead and only waits for its parent to take note.
    fn of(id: u32) -> Option<Self> {
        Stat::of(id).filter(|stat| !stat.dead).map(|stat| Process { id, began: stat.began })
    }

    /// Returns the ancestor that holds the far end of the pipe that is this process's stdin: whoever talks to it, with as
    /// many wrappers in between as there may be; this process itself where that one has died. Where none of them lets us look, it is the parent, or what has started
    /// that if both are the same program, as `git` is that runs `git remote-mirror`.
    pub fn at_the_other_end() -> Option<Self> {
        let ours = std::fs::metadata("/proc/self/fd/0").ok()?;
        let holds_it = |id: u32| {
            let descriptors = std::fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
            descriptors.map(|entry| entry.path()).any(|fd| {
                // The mode of the link itself says for what it is open.
                let writes = fd.symlink_metadata().is_ok_and(|link| link.permissions().mode() & 0o200 != 0);
                writes && fd.metadata().is_ok_and(|f| (f.dev(), f.ino()) == (ours.dev(), ours.ino()))
            })
        };
        let parent = Stat::of(std::process::id())?.parent;
        let mut id = parent;
        for _ in 0..FARTHEST {
            if id > 0 && holds_it(id) {
                return Self::of(id);
            }
            if id <= 1 {
                break;
            }
            id = Stat::of(id)?.parent;
        }
        // Whoever talked to it has died, and the first of all processes is nobody's git.
        if parent <= 1 {
            return Self::this();
        }
        let above = Stat::of(parent)?.parent;
        let alike = above > 1 && Stat::of(above).map(|stat| stat.name) == Stat::of(parent).map(|stat| stat.name);
        Self::of(if alike { above } else { parent })
    }

    /// Returns whether it still runs.
    pub fn lives(&self) -> bool {
        Self::of(self.id) == Some(*self)
    }

    /// Waits until it has ended, or it is `until`.
    pub fn wait_ended(&self, until: Instant) {
        let ended = super::pid(self.id).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        while self.lives() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Linux before 5.3 gives no such descriptor.
            let Some(ended) = &ended else {
                std::thread::sleep(LOOK.min(left));
                continue;
            };
            let timeout = Timespec { tv_sec: left.as_secs().min(3600) as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            if poll(&mut [PollFd::new(ended, PollFlags::IN)], Some(&timeout)).is_err() {
                std::thread::sleep(LOOK.min(left));
            }
        }
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: String,
    dead: bool,
    parent: u32,
    began: u64,
}

impl Stat {
    fn of(id: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// The second field is a name in parentheses, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.rsplit_once(')')?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        Some(Stat {
            name: before.split_once('(')?.1.to_owned(),
            dead: matches!(*fields.first()?, "Z" | "X" | "x"),
            parent: fields.get(1)?.parse().ok()?,
            began: fields.get(19)?.parse().ok()?,
        })
    }
}

/// Returns where process ids mean what they mean here: a host, its present run, and its namespace of process ids. One word
/// without spaces; `None` where it cannot be told.
pub fn process_space() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let host = read("/proc/sys/kernel/hostname")?;
    let boot = read("/proc/sys/kernel/random/boot_id")?;
    let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
    let space = space.to_string_lossy();
    let digits: String = space.chars().filter(char::is_ascii_digit).collect();
    let word = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    Some(format!(
        "{}/{}/{digits}",
        host.chars().map(word).collect::<String>(),
        boot.chars().map(word).collect::<String>()
    ))
}

/// Returns words for this process that mean no other one, on any machine.
pub fn process_name() -> String {
    let Process { id, began } = Process::this().unwrap_or(Process { id: std::process::id(), began: 0 });
    format!("{id} {began} {}", process_space().unwrap_or_default())
}

/// Returns whether a process that has given itself this name may be alive; of one elsewhere that cannot be told.
pub fn may_live(name: &str) -> bool {
    let mut words = name.split(' ');
    let id = words.next().and_then(|word| word.parse().ok());
    let began = words.next().and_then(|word| word.parse().ok());
    match (id, began) {
        (Some(id), Some(began)) if words.next() == process_space().as_deref() => Process { id, began }.lives(),
        (Some(_), Some(_)) => true,
        _ => false,
    }
}

/// Leaves the terminal, the session and the folder that this process was started in.
///
/// # Errors
/// Those of chdir(2) and setsid(2).
pub fn stand_alone() -> Result<(), Error> {
    std::env::set_current_dir(Path::new("/"))?;
    rustix::process::setsid()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let text = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { name: "a) b (c)".into(), dead: false, parent: 3, began: 12345 }));
        assert_eq!(Stat::parse("7 (a) Z 3"), None);
    }

    #[test]
    fn tells_the_living_from_the_dead() {
        let Some(this) = Process::this() else { return };
        assert!(this.lives() && !Process { began: this.began + 1, ..this }.lives());
        let mut child = std::process::Command::new("sleep").arg("0.1").spawn().expect("sleep");
        let process = Process::of(child.id()).expect("it runs");
        assert!(process.lives());
        process.wait_ended(Instant::now() + Duration::from_secs(20));
        assert!(!process.lives(), "dead, though nobody has waited for it");
        child.wait().expect("a status");
        let began = Instant::now();
        this.wait_ended(began + Duration::from_millis(30));
        assert!(began.elapsed() >= Duration::from_millis(30));
    }
}
