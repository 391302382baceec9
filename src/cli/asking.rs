//! `git mirror ask` and `git mirror publish-list`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::stderr::Stderr;
use super::words::say;
use crate::adapters::git::config::Config;
use crate::adapters::git::remotes;
use crate::adapters::net::channel::Family;
use crate::usecases::fetching::asking::{self, Answer};
use crate::usecases::fetching::remote::Remote;
use crate::usecases::managing::publish_list::{self, Published};
use crate::values::mirror_list::{MirrorEntry, MirrorList, PreferMirror};
use crate::values::safe_text::safe_json;
use crate::values::{GitUrl, Result};
use crate::wire::mirror_command::Request;

#[derive(Debug, clap::Args)]
pub struct Ask {
    /// A remote, or a URL (default: the remote that `git fetch` uses)
    #[arg(value_name = "REMOTE|URL")]
    whom: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ask as a mirror of this URL
    #[arg(long, value_name = "url")]
    url: Option<String>,
    /// At most so many mirrors
    #[arg(long, value_name = "n")]
    limit: Option<u32>,
    /// The mirrors after the first so many
    #[arg(long, value_name = "n")]
    offset: Option<u32>,
}

/// Runs `git mirror ask`; returns the exit code: 0 where there is an answer, 1 where `--url` is unknown there.
pub fn ask(args: &Ask) -> Result<i32> {
    if args.whom.is_none() {
        super::inside()?;
    }
    let config = Config::load()?;
    let whom = args.whom.clone().unwrap_or_else(|| remotes::default_remote(&config));
    let is_remote = config.all(&format!("remote.{whom}.url")).next().is_some();
    let url = match (is_remote, &args.whom) {
        (false, Some(url)) => config.rewritten(url.strip_prefix("mirror::").unwrap_or(url)),
        _ => remotes::remote_url(&config, &whom)?,
    };
    let url = GitUrl::parse(&url)?;
    let request = Request { url: args.url.clone(), limit: args.limit, offset: args.offset };
    let answer = asking::ask(
        &Remote { name: &whom, url: &url, config: &config, family: Family::Any, report: &Stderr::default() },
        &request,
    )?;
    if args.json {
        println!("{}", safe_json(&format!("{:#}", as_json(&answer))));
    } else {
        print(&answer.list);
    }
    Ok(i32::from(answer.list.not_found))
}

fn preference(list: &MirrorList) -> &'static str {
    match list.prefer {
        PreferMirror::No => "no",
        PreferMirror::Once => "once",
        PreferMirror::Always => "always",
    }
}

fn as_json(answer: &Answer) -> Value {
    let list = &answer.list;
    let client = list.client.as_ref().map(|client| {
        json!({
            "address": client.address.map(|address| address.to_string()),
            "country": client.country,
            "location": client.location.map(|place| [place.latitude, place.longitude]),
        })
    });
    json!({
        "id": answer.feature.id,
        "canonical": list.canonical,
        "mirrors": list.mirrors.iter().map(mirror_as_json).collect::<Vec<_>>(),
        "more": list.more,
        "prefer_mirror": preference(list),
        "client": client,
        "not_found": list.not_found,
    })
}

fn mirror_as_json(mirror: &MirrorEntry) -> Value {
    let mut map = Map::from_iter([("url".to_owned(), json!(mirror.url))]);
    let mut add = |key: &str, value: Option<Value>| map.extend(value.map(|value| (key.to_owned(), value)));
    add("priority", mirror.priority.map(Into::into));
    add("weight", mirror.weight.map(Into::into));
    add("country", mirror.country.clone().map(Into::into));
    add("location", mirror.location.map(|place| json!([place.latitude, place.longitude])));
    add("as_of", mirror.as_of.map(Into::into));
    map.into()
}

fn print(list: &MirrorList) {
    if list.not_found {
        say("not found; the URLs that are known there:");
        list.canonical.iter().for_each(|url| say(url));
        return;
    }
    list.canonical.iter().for_each(|url| say(&format!("canonical     {url}")));
    say(&format!("prefer-mirror {}", preference(list)));
    if let Some(client) = &list.client {
        let address = client.address.map(|address| address.to_string());
        let place = client.location.map(|place| place.to_string());
        let parts: Vec<String> = [address, client.country.clone(), place].into_iter().flatten().collect();
        say(&format!("client        {}", parts.join(" ")));
    }
    let width = list.mirrors.iter().map(|mirror| mirror.url.chars().count()).max().unwrap_or(0);
    for mirror in &list.mirrors {
        let mut more = String::new();
        let mut add = |key: &str, value: Option<String>| {
            more.extend(value.map(|value| format!("  {key} {value}")));
        };
        add("priority", mirror.priority.map(|n| n.to_string()));
        add("weight", mirror.weight.map(|n| n.to_string()));
        add("country", mirror.country.clone());
        add("location", mirror.location.map(|place| place.to_string()));
        say(&format!("mirror        {}", format!("{:width$}{more}", mirror.url).trim_end()));
    }
    if list.more > 0 {
        say(&format!("more-mirrors  {}", list.more));
    }
}

/// Runs `git mirror publish-list`; returns the exit code: git push's.
pub fn publish(file: &Path, remote: Option<&str>) -> Result<i32> {
    match publish_list::publish(remote, file)? {
        Published::UpToDate => {
            say("Everything up-to-date");
            Ok(0)
        }
        Published::Pushed(code) => Ok(code),
    }
}
