//! How much memory processes have, on Linux (proc(5)).

/// Returns what processes, and all that they have started, have in memory together, in bytes. Pages that several have
/// count for each. Nothing where the system does not tell.
pub fn resident(roots: impl IntoIterator<Item = u32>) -> u64 {
    let mut left: Vec<u32> = roots.into_iter().collect();
    let mut seen = std::collections::HashSet::new();
    let mut kilobytes = 0;
    while let Some(id) = left.pop() {
        if !seen.insert(id) {
            continue;
        }
        let read = |what: String| std::fs::read_to_string(format!("/proc/{id}/{what}")).unwrap_or_default();
        let status = read("status".into());
        let size = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let size = size.and_then(|size| size.split_ascii_whitespace().next()?.parse::<u64>().ok());
        kilobytes += size.unwrap_or(0);
        left.extend(
            read(format!("task/{id}/children")).split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    kilobytes * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_was_started_too() {
        let alone = resident([std::process::id()]);
        let mut child = std::process::Command::new("sleep").arg("20").spawn().expect("sleep");
        let both = resident([std::process::id(), child.id()]);
        let own = resident([child.id()]);
        child.kill().expect("a process");
        child.wait().expect("a process");
        assert!(alone > 0 && own > 0 && own < alone && both > alone, "{alone} {own} {both}");
        assert_eq!(resident([child.id()]), 0);
    }
}
