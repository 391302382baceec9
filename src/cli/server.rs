//! The server side of `git mirror`: `upload-pack`, `http-backend`, `serve`, `check-config`.

use std::path::{Path, PathBuf};
#[cfg(feature = "serve")]
use std::time::Duration;

use core::net::IpAddr;

use crate::adapters::git::repo::Repo;
use crate::adapters::kept::geoip::Database;
use crate::adapters::list_file::{self, FILE_NAME};
use crate::usecases::serving::http_backend;
use crate::usecases::serving::request;
#[cfg(feature = "serve")]
use crate::usecases::serving::serve;
use crate::usecases::serving::site::Site;
use crate::usecases::serving::upload_pack;
use crate::values::{Error, Kind, Result};

/// Where mirror lists are.
#[derive(Debug, clap::Args)]
struct Lists {
    /// The mirror list of repositories that have none of their own; {repo} in its URLs is their name
    #[arg(long, value_name = "file", env = "GIT_MIRROR_LIST")]
    list: Option<PathBuf>,
}

/// Addresses with commas or spaces between; a variable that is set to nothing names none.
#[derive(Debug, Clone)]
struct Proxies(Vec<IpAddr>);

impl std::str::FromStr for Proxies {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let words = text.split([',', ' ']).filter(|word| !word.is_empty());
        let address = |word: &str| word.parse().map_err(|_| format!("'{word}' is no IP address"));
        words.map(address).collect::<std::result::Result<_, _>>().map(Proxies)
    }
}

#[derive(Debug, clap::Args)]
pub struct UploadPack {
    /// Do not try <directory>/.git if <directory> is no git directory
    #[arg(long, overrides_with = "no_strict")]
    strict: bool,
    /// Try <directory>/.git too (the default)
    #[arg(long)]
    no_strict: bool,
    /// Interrupt the transfer after so many seconds of inactivity
    #[arg(long, value_name = "n")]
    timeout: Option<u64>,
    /// Perform only a single read-write cycle
    #[arg(long)]
    stateless_rpc: bool,
    /// Send the advertisement, and end
    #[arg(long, alias = "advertise-refs")]
    http_backend_info_refs: bool,
    /// The folder that repositories' names begin in, for {repo}
    #[arg(long, value_name = "dir", env = "GIT_MIRROR_BASE")]
    base: Option<PathBuf>,
    #[command(flatten)]
    lists: Lists,
    /// The repository to serve
    directory: String,
}

#[derive(Debug, clap::Args)]
pub struct HttpBackend {
    #[command(flatten)]
    lists: Lists,
    /// Proxies whose X-Forwarded-For is believed, with commas between
    #[arg(
        long,
        value_name = "addresses",
        env = "GIT_MIRROR_TRUSTED_PROXIES",
        default_value = "",
        hide_default_value = true
    )]
    trusted_proxies: Proxies,
}

#[cfg(feature = "serve")]
#[derive(Debug, clap::Args)]
pub struct Serve {
    /// Where to listen: http://<address>:<port> or git://<address>:<port> (may be repeated); port 0 takes a free one
    #[arg(long, value_name = "url", default_value = "http://127.0.0.1:8080")]
    listen: Vec<String>,
    /// Serve repositories without a file git-daemon-export-ok, too
    #[arg(long)]
    export_all: bool,
    #[command(flatten)]
    lists: Lists,
    /// Proxies whose X-Forwarded-For is believed, with commas between
    #[arg(long, value_name = "addresses", default_value = "", hide_default_value = true)]
    trusted_proxies: Proxies,
    /// Connections at once; more wait
    #[arg(long, value_name = "n", default_value_t = serve::Limits::default().connections)]
    max_connections: usize,
    /// Transfers at once; more wait
    #[arg(long, value_name = "n", default_value_t = serve::Limits::default().transfers)]
    max_transfers: usize,
    /// MiB of memory, of the server and its processes, beyond which no transfer begins beside clients that take nothing
    #[arg(long, value_name = "MiB", default_value_t = serve::Limits::default().memory >> 20)]
    max_memory: u64,
    /// Bytes of a request
    #[arg(long, value_name = "bytes", default_value_t = serve::Limits::default().request)]
    max_request: usize,
    /// Seconds that a client may be silent, or not take what it is sent
    #[arg(long, value_name = "seconds", default_value_t = serve::Limits::default().idle.as_secs())]
    timeout: u64,
    /// Seconds that transfers may go on after SIGTERM or SIGINT
    #[arg(long, value_name = "seconds", default_value_t = serve::Limits::default().grace.as_secs())]
    grace: u64,
    /// Log no requests
    #[arg(short, long)]
    quiet: bool,
    /// The folder of repositories
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// Runs `git mirror upload-pack`; returns the exit code.
pub fn upload_pack(args: &UploadPack) -> Result<i32> {
    let order = upload_pack::Order {
        directory: args.directory.clone(),
        strict: args.strict,
        timeout: args.timeout,
        stateless_rpc: args.stateless_rpc,
        advertise: args.http_backend_info_refs,
    };
    // Over a network, stderr is often the client's: what is wrong here is none of its business.
    let local = request::client_address().is_none();
    let log = move |text: &str| {
        tracing::warn!("{text}");
        if local {
            eprintln!("warning: {text}");
        }
    };
    let site = Site::new(args.lists.list.clone(), args.base.clone(), Box::new(log));
    upload_pack::run(&order, &site)
}

/// Runs `git mirror http-backend`; returns the exit code.
pub fn http_backend(args: &HttpBackend) -> Result<i32> {
    let base = std::env::var_os("GIT_PROJECT_ROOT").map(PathBuf::from);
    let log = |text: &str| eprintln!("warning: {text}"); // the web server's log
    let site = Site::new(args.lists.list.clone(), base, Box::new(log));
    http_backend::run(&site, &args.trusted_proxies.0)
}

/// Any arguments: there is nobody to read them.
#[cfg(not(feature = "serve"))]
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Serve {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _any: Vec<std::ffi::OsString>,
}

/// Says that there is no server in this program.
#[cfg(not(feature = "serve"))]
pub fn serve(_: Serve) -> Result<i32> {
    let err = Error::new(Kind::Usage, "'git mirror serve': this git-mirror was built without it");
    Err(err.hint("build it with cargo's feature `serve`, which is on unless --no-default-features is given"))
}

/// Runs `git mirror serve`; returns the exit code.
#[cfg(feature = "serve")]
pub fn serve(args: Serve) -> Result<i32> {
    let none = |name: &str| Error::new(Kind::Usage, format!("--{name} must be at least 1"));
    for (name, value) in [("max-connections", args.max_connections), ("max-transfers", args.max_transfers)] {
        if value == 0 || value > 100_000 {
            return Err(none(name));
        }
    }
    let base = std::fs::canonicalize(&args.dir).ok();
    let order = serve::Order {
        listen: args.listen,
        root: args.dir,
        export_all: args.export_all,
        trusted_proxies: args.trusted_proxies.0,
        site: Site::new(args.lists.list, base, Box::new(|text| eprintln!("warning: {text}"))),
        limits: serve::Limits {
            connections: args.max_connections,
            transfers: args.max_transfers,
            memory: args.max_memory.saturating_mul(1 << 20),
            request: args.max_request,
            idle: Duration::from_secs(args.timeout.max(1)),
            grace: Duration::from_secs(args.grace),
        },
    };
    let quiet = args.quiet;
    let log = move |line: &str| {
        if !quiet {
            eprintln!("{} {line}", timestamp());
        }
    };
    serve::run(order, |url| println!("{url}"), Box::new(log)).map(|()| 0)
}

/// Returns the time in UTC, as RFC 3339 writes it.
#[cfg(feature = "serve")]
fn timestamp() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let time = gix::date::Time::new(i64::try_from(now).unwrap_or(0), 0);
    time.format_or_unix(gix::date::time::format::ISO8601_STRICT)
}

/// Runs `git mirror check-config`; returns 0 where nothing is wrong, 1 otherwise.
pub fn check_config(files: Vec<PathBuf>) -> Result<i32> {
    let files = if files.is_empty() {
        let repo = Repo::discover()
            .ok_or_else(|| Error::new(Kind::Usage, "name a file, or be in a repository that has a mirrors.toml"))?;
        vec![repo.common_dir.join(FILE_NAME)]
    } else {
        files
    };
    let mut code = 0;
    for file in files {
        if !check(&file)? {
            code = 1;
        }
    }
    Ok(code)
}

fn check(file: &Path) -> Result<bool> {
    let shown = file.display().to_string();
    let text = list_file::read(file)?
        .ok_or_else(|| Error::new(Kind::Usage, format!("cannot read {shown}: there is no such file")))?;
    match list_file::check(&text, &shown, Some("example")) {
        Err(problems) => {
            problems.iter().for_each(|problem| println!("{problem}"));
            Ok(false)
        }
        Ok(checked) => {
            let database = checked.geoip_database.map(|path| list_file::beside(file, &path));
            if let Some(Err(err)) = database.map(|path| Database::open(&path)) {
                println!("{shown}: geoip_database: {err}");
                return Ok(false);
            }
            println!("{shown}: ok, {} mirrors", checked.listing.mirrors.len());
            Ok(true)
        }
    }
}
