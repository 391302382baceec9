//! What to ask a mirror for (docs/architecture.md, "Seeding, step by step").
//!
//! Only what git itself asks canonical for, by the same ids where the mirror has them; where it is stale, its own id
//! under the name whose canonical id is wanted. Never a ref that canonical does not have: seeding more than git asked
//! for changes what git then does (it follows tags by what it finds in the object store).

use std::collections::{HashMap, HashSet};

use gix::ObjectId;

use crate::values::RefSpace;
use crate::wire::{RefList, RemoteRef};

/// Most refs that one mirror gets below `refs/mirror/<host>/`; each costs a file.
pub const MAX_REFS: usize = 1000;

/// What servers show to everybody.
const USUAL: [&str; 2] = ["refs/heads/", "refs/tags/"];

/// How a mirror is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// For wanted ids that it shows, those without a name or that it may hide, and its own ids where it is stale.
    Usual,
    /// Not for ids that it does not show: it has refused them.
    Shown,
    /// Only for the very ids that are wanted: it is ahead, and nothing shall come in that canonical did not name.
    Exact,
}

/// What one mirror is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Ids to want, each once.
    pub wants: Vec<ObjectId>,
    /// Those of them that the mirror did not advertise: it may have them, or refuse the whole request.
    pub unadvertised: Vec<ObjectId>,
    /// Under which name each id is kept locally, branches first.
    pub names: Vec<(String, ObjectId)>,
}

/// Returns the names whose refs a mirror must show: those under which canonical has what is wanted.
pub fn names_of<'a>(canonical: &'a RefList, wants: &[ObjectId]) -> Vec<&'a RemoteRef> {
    let wanted: HashSet<_> = wants.iter().collect();
    canonical.refs.iter().filter(|r| r.name != "HEAD" && wanted.contains(&r.oid)).collect()
}

/// Returns what to ask a mirror for.
///
/// `wants` are git's own, `named` what [`names_of`] gave for them, `theirs` the mirror's refs, and `known` tells what
/// is in the local store already.
pub fn request(
    wants: &[ObjectId],
    named: &[&RemoteRef],
    theirs: &RefList,
    manner: Manner,
    known: impl Fn(&ObjectId) -> bool,
) -> Request {
    let by_name: HashMap<&str, &RemoteRef> = theirs.refs.iter().map(|r| (r.name.as_str(), r)).collect();
    let advertised: HashSet<&ObjectId> =
        theirs.refs.iter().flat_map(|r| [Some(&r.oid), r.peeled.as_ref()]).flatten().collect();
    // What it does not show it may hide, as hosts do with `refs/pull/*`, and give; of a branch or a tag it is not likely.
    let is_shown = |name: &str| by_name.contains_key(name) || USUAL.iter().any(|usual| name.starts_with(usual));
    let has_name: HashSet<&ObjectId> = named.iter().filter(|r| is_shown(&r.name)).map(|r| &r.oid).collect();

    let mut out = Request::default();
    let mut seen = HashSet::new();
    for want in wants {
        let shown = advertised.contains(want);
        let asked = match manner {
            Manner::Usual => shown || !has_name.contains(want),
            Manner::Shown => shown,
            Manner::Exact => true,
        };
        if asked && seen.insert(*want) {
            out.wants.push(*want);
            if !shown {
                out.unadvertised.push(*want);
            }
        }
    }
    for name in named {
        if advertised.contains(&name.oid) {
            out.names.push((name.name.clone(), name.oid));
            continue;
        }
        let Some(stale) = by_name.get(name.name.as_str()).filter(|_| manner != Manner::Exact) else { continue };
        if !known(&stale.oid) {
            if seen.insert(stale.oid) {
                out.wants.push(stale.oid);
            }
            out.names.push((name.name.clone(), stale.oid));
        }
    }
    out.names.sort_by_key(|(name, _)| !name.starts_with("refs/heads/"));
    out
}

/// Returns the refs to create below `refs/mirror/<host>/`: at most [`MAX_REFS`], branches first, one for each id.
pub fn refs_to_write(space: &RefSpace, request: &Request) -> Vec<(String, ObjectId)> {
    let mut seen = HashSet::new();
    request
        .names
        .iter()
        .filter(|(_, oid)| seen.insert(*oid))
        .filter_map(|(name, oid)| Some((space.local_name(name)?, *oid)))
        .take(MAX_REFS)
        .collect()
}

/// Returns canonical's annotated tags that its server would have sent along under `include-tag`: those whose target
/// came in just now, and that are not here.
pub fn tags_to_follow(
    canonical: &RefList,
    came_in: impl Fn(&ObjectId) -> bool,
    known: impl Fn(&ObjectId) -> bool,
) -> Vec<ObjectId> {
    let tags = canonical.refs.iter().filter(|r| r.name.starts_with("refs/tags/"));
    tags.filter(|tag| tag.peeled.is_some_and(|peeled| came_in(&peeled)) && !known(&tag.oid))
        .map(|tag| tag.oid)
        .collect()
}

/// Returns what canonical's tags name and came in just now: where it is not reachable from what git asked for, git would
/// create tags that it would not have created otherwise.
pub fn tag_targets(canonical: &RefList, came_in: impl Fn(&ObjectId) -> bool) -> Vec<ObjectId> {
    let tags = canonical.refs.iter().filter(|r| r.name.starts_with("refs/tags/"));
    tags.map(|tag| tag.peeled.unwrap_or(tag.oid)).filter(came_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> ObjectId {
        ObjectId::from_hex(format!("{n:02x}").repeat(20).as_bytes()).expect("hex")
    }

    fn list(refs: &[(&str, u8, Option<u8>)]) -> RefList {
        let refs = refs.iter().map(|(name, oid, peeled)| RemoteRef {
            name: (*name).to_owned(),
            oid: id(*oid),
            peeled: peeled.map(id),
        });
        RefList { refs: refs.collect() }
    }

    fn ask(
        wants: &[u8],
        canonical: &RefList,
        theirs: &RefList,
        manner: Manner,
        known: &[u8],
    ) -> (Vec<ObjectId>, usize) {
        let wants: Vec<_> = wants.iter().map(|n| id(*n)).collect();
        let named = names_of(canonical, &wants);
        let known: Vec<_> = known.iter().map(|n| id(*n)).collect();
        let got = request(&wants, &named, theirs, manner, |oid| known.contains(oid));
        (got.wants, got.unadvertised.len())
    }

    #[test]
    fn fresh_stale_and_unknown() {
        let canonical = list(&[("HEAD", 1, None), ("refs/heads/a", 1, None), ("refs/heads/b", 2, None)]);
        let fresh = list(&[("refs/heads/a", 1, None), ("refs/heads/b", 2, None), ("refs/heads/extra", 9, None)]);
        assert_eq!(ask(&[1, 2], &canonical, &fresh, Manner::Usual, &[]), (vec![id(1), id(2)], 0));
        let stale = list(&[("refs/heads/a", 3, None), ("refs/heads/b", 2, None)]);
        assert_eq!(ask(&[1, 2], &canonical, &stale, Manner::Usual, &[]), (vec![id(2), id(3)], 0));
        assert_eq!(ask(&[1, 2], &canonical, &stale, Manner::Usual, &[3]), (vec![id(2)], 0));
        assert_eq!(ask(&[1], &canonical, &stale, Manner::Exact, &[]), (vec![id(1)], 1));
        // An id without a name (an exact fetch) is asked for, advertised or not.
        assert_eq!(ask(&[7], &canonical, &fresh, Manner::Usual, &[]), (vec![id(7)], 1));
        assert_eq!(ask(&[7, 1], &canonical, &fresh, Manner::Shown, &[]), (vec![id(1)], 0));
        let pull = list(&[("refs/pull/1/head", 7, None)]);
        assert_eq!(ask(&[7], &pull, &fresh, Manner::Usual, &[]), (vec![id(7)], 1));
        assert_eq!(ask(&[7], &pull, &list(&[("refs/pull/1/head", 6, None)]), Manner::Usual, &[6]), (vec![], 0));
        // A mirror without the ref has nothing to give.
        assert_eq!(ask(&[1], &canonical, &list(&[]), Manner::Usual, &[]), (vec![], 0));
    }

    #[test]
    fn names_branches_first_and_each_id_once() {
        let canonical = list(&[("refs/tags/v", 2, Some(1)), ("refs/heads/a", 1, None), ("refs/heads/b", 1, None)]);
        let wants = [id(1), id(2)];
        let got = request(&wants, &names_of(&canonical, &wants), &canonical, Manner::Usual, |_| false);
        let refs = refs_to_write(&RefSpace::of("o", &crate::values::GitUrl::parse("https://h/a").expect("URL")), &got);
        let names: Vec<_> = refs.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["refs/mirror/h/heads/a", "refs/mirror/h/tags/v"]);
    }

    #[test]
    fn follows_tags_of_what_came_in() {
        let canonical =
            list(&[("refs/tags/v1", 2, Some(1)), ("refs/tags/v2", 4, Some(3)), ("refs/tags/light", 1, None)]);
        assert_eq!(tags_to_follow(&canonical, |oid| *oid == id(1), |_| false), [id(2)]);
        assert!(tags_to_follow(&canonical, |oid| *oid == id(1), |oid| *oid == id(2)).is_empty());
        assert_eq!(tag_targets(&canonical, |oid| *oid == id(1)), [id(1), id(1)]);
    }
}
