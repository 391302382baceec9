//! How things stand, in words: what `git mirror` says after it has changed something, and above its table.

use super::LONGEST;
use crate::usecases::managing::manage::Odd;
use crate::usecases::managing::switch::{Standing, Switch};
use crate::values::safe_text::safe;

/// Returns how the mirrors of a remote stand, and what can be done about it.
pub fn standing(standing: &Standing) -> (String, Option<String>) {
    let remote = &standing.remote;
    let all = standing.own + standing.listed;
    let only_listed = standing.own == 0 && !standing.listed_wanted;
    let enable =
        || Some(format!("`git mirror enable {remote}` switches them on; `git mirror-fetch {remote}` uses them once"));
    if let Switch::Other(helper) = &standing.switch {
        let text = format!("'{remote}' uses the remote helper '{helper}', and no mirrors");
        return (
            text,
            Some(format!("`git mirror-fetch` leaves it alone; `git config --unset remote.{remote}.vcs` ends that")),
        );
    }
    if all == 0 {
        let text = match standing.is_on() {
            true => format!("mirrors are switched on for '{remote}', which has none"),
            false => format!("'{remote}' has no mirror"),
        };
        return (text, Some(format!("`git mirror add {remote} <url>` adds one")));
    }
    if standing.unwanted {
        let off = standing.switch == Switch::Off;
        let undo = if off { format!("enable {remote}") } else { format!("prefer --unset {remote}") };
        let text = format!("no mirror is used for '{remote}': remote.{remote}.preferMirror is false");
        return (text, Some(format!("`git mirror {undo}` undoes that")));
    }
    if standing.switch == Switch::Off {
        return (format!("mirrors are switched off for '{remote}': plain git does not use them"), enable());
    }
    if only_listed {
        let text = format!("the server lists mirrors for '{remote}', and they are not used unless you say so");
        return (text, Some(format!("`git mirror prefer --always {remote}` has them used")));
    }
    let from = match standing.switch {
        Switch::Elsewhere => " (for all your repositories)",
        Switch::Url => " (by its URL)",
        _ => "",
    };
    (format!("mirrors are switched on for '{remote}'{from}: plain git uses them"), None)
}

/// Returns what is odd about a mirror, in words.
pub fn odd(odd: &Odd) -> &'static str {
    match odd {
        Odd::IsCanonical => "is canonical itself: there is nothing to gain",
        Odd::Missing => "is a path at which there is nothing",
    }
}

/// Prints a line to stdout: not cut, as it may be a URL that somebody needs whole.
pub fn say(text: &str) {
    println!("{}", safe(text, usize::MAX));
}

/// Prints how things stand, to stdout, and what can be done, to stderr.
pub fn tell(standing: &Standing) {
    let (text, hint) = self::standing(standing);
    say(&text);
    hint.inspect(|hint| self::hint(hint));
}

/// Prints what can be done.
pub fn hint(text: &str) {
    eprintln!("hint: {}", safe(text, LONGEST));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_words() {
        let switches = [Switch::Here, Switch::Elsewhere, Switch::Url, Switch::Off, Switch::Other("hg".into())];
        for switch in switches {
            for (unwanted, listed_wanted) in [(false, false), (false, true), (true, false)] {
                for (own, listed) in [(0, 0), (1, 0), (0, 2), (1, 2)] {
                    let switch = switch.clone();
                    let one = Standing { remote: "o".into(), switch, unwanted, listed_wanted, own, listed };
                    let (text, hint) = standing(&one);
                    let usable = own > 0 || listed > 0 && listed_wanted;
                    let used = one.is_on() && usable;
                    assert_eq!(text.contains("plain git uses them"), used, "{one:?}: {text}");
                    assert_eq!(hint.is_none(), used, "{one:?}: {hint:?}");
                    assert!(text.contains("'o'") && text.len() <= 80, "{text}");
                }
            }
        }
    }
}
