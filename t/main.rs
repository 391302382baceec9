//! The end-to-end suite: one test for each script of this directory.
//!
//! The scripts are shell and print TAP; `prove t/*.sh` runs them as well. Here
//! each is one `#[test]`, so that `cargo test` runs everything, in parallel, with
//! the binaries it has just built. A script that no test names is a failure.

mod fuzz;
mod layers;
mod property;
// The pure parts of the link: an example that tests itself would not be built as a program.
#[allow(dead_code)]
#[path = "helper/link/line.rs"]
mod link_line;
#[allow(dead_code)]
#[path = "helper/link/options.rs"]
mod link_options;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

macro_rules! scripts {
    ($($test:ident => $file:literal,)*) => {
        const SCRIPTS: &[&str] = &[$($file),*];
        $(#[test] fn $test() { run($file); })*
    };
}

scripts! {
    t0000_harness => "t0000-harness.sh",
    t1000_path => "t1000-path.sh",
    t1001_git => "t1001-git.sh",
    t1002_http => "t1002-http.sh",
    t1003_https => "t1003-https.sh",
    t1004_ssh => "t1004-ssh.sh",
    t1100_faults_path => "t1100-faults-path.sh",
    t1101_faults_git => "t1101-faults-git.sh",
    t1102_faults_http => "t1102-faults-http.sh",
    t1103_faults_ssh => "t1103-faults-ssh.sh",
    t2000_fetch_path => "t2000-fetch-path.sh",
    t2001_clone_path => "t2001-clone-path.sh",
    t2002_mirror_clone => "t2002-mirror-clone.sh",
    t2100_push_path => "t2100-push-path.sh",
    t2101_push_git => "t2101-push-git.sh",
    t2102_push_http => "t2102-push-http.sh",
    t2103_push_ssh => "t2103-push-ssh.sh",
    t2200_git => "t2200-git.sh",
    t2201_http => "t2201-http.sh",
    t2202_ssh => "t2202-ssh.sh",
    t2203_git_v0 => "t2203-git-v0.sh",
    t2204_http_v0 => "t2204-http-v0.sh",
    t2205_ssh_v0 => "t2205-ssh-v0.sh",
    t2206_http_dumb => "t2206-http-dumb.sh",
    t2300_scoped_path => "t2300-scoped-path.sh",
    t2301_scoped_git => "t2301-scoped-git.sh",
    t2302_scoped_http => "t2302-scoped-http.sh",
    t2303_scoped_ssh => "t2303-scoped-ssh.sh",
    t2310_runners => "t2310-runners.sh",
    t2320_lies_of_parts => "t2320-lies-of-parts.sh",
    t2330_killed_parts => "t2330-killed-parts.sh",
    t3000_docs => "t3000-docs.sh",
    t3100_patience => "t3100-patience.sh",
    t3101_odd_mirrors => "t3101-odd-mirrors.sh",
    t3102_configuration => "t3102-configuration.sh",
    t3103_mirror_fetch => "t3103-mirror-fetch.sh",
    t3104_messages => "t3104-messages.sh",
    t3105_manage => "t3105-manage.sh",
    t3106_everywhere => "t3106-everywhere.sh",
    t3107_many_refs => "t3107-many-refs.sh",
    t3108_programs => "t3108-programs.sh",
    t3109_mirror_clone => "t3109-mirror-clone.sh",
    t3110_bounds => "t3110-bounds.sh",
    t3120_two_remotes => "t3120-two-remotes.sh",
    t3121_other_names => "t3121-other-names.sh",
    t3200_credentials => "t3200-credentials.sh",
    t3201_hangs => "t3201-hangs.sh",
    t3202_resolver => "t3202-resolver.sh",
    t3300_ctrl_c => "t3300-ctrl-c.sh",
    t3301_signals => "t3301-signals.sh",
    t3302_in_a_shell => "t3302-in-a-shell.sh",
    t3303_clone_ctrl_c => "t3303-clone-ctrl-c.sh",
    t3400_salvage => "t3400-salvage.sh",
    t3402_malformed => "t3402-malformed.sh",
    t3403_bombs => "t3403-bombs.sh",
    t3500_choosing => "t3500-choosing.sh",
    t4000_kill => "t4000-kill.sh",
    t4010_gc => "t4010-gc.sh",
    t4020_odd_machines => "t4020-odd-machines.sh",
    t5000_path => "t5000-path.sh",
    t5001_ssh_entry => "t5001-ssh-entry.sh",
    t5002_ssh_forced => "t5002-ssh-forced.sh",
    t5003_nginx => "t5003-nginx.sh",
    t5004_apache => "t5004-apache.sh",
    t5005_lighttpd => "t5005-lighttpd.sh",
    t5006_serve_http => "t5006-serve-http.sh",
    t5007_serve_git => "t5007-serve-git.sh",
    t5008_apache_cgi => "t5008-apache-cgi.sh",
    t5100_wire => "t5100-wire.sh",
    t5101_url => "t5101-url.sh",
    t5102_policies => "t5102-policies.sh",
    t5103_serve => "t5103-serve.sh",
    t5104_serve_load => "t5104-serve-load.sh",
    t5105_check_config => "t5105-check-config.sh",
    t5106_serve_ends => "t5106-serve-ends.sh",
    t5107_serve_crowd => "t5107-serve-crowd.sh",
    t6000_learn_path => "t6000-learn-path.sh",
    t6001_learn_git => "t6001-learn-git.sh",
    t6002_learn_http => "t6002-learn-http.sh",
    t6003_learn_nginx => "t6003-learn-nginx.sh",
    t6004_learn_ssh => "t6004-learn-ssh.sh",
    t6010_learned_configuration => "t6010-learned-configuration.sh",
    t6020_hostile_path => "t6020-hostile-path.sh",
    t6021_hostile_git => "t6021-hostile-git.sh",
    t6022_hostile_http => "t6022-hostile-http.sh",
    t6023_hostile_ssh => "t6023-hostile-ssh.sh",
    t6030_private_mirrors => "t6030-private-mirrors.sh",
    t6031_plaintext_of_https => "t6031-plaintext-of-https.sh",
    t6032_lying_dns => "t6032-lying-dns.sh",
    t6040_laptop => "t6040-laptop.sh",
    t6050_list_in_the_repository => "t6050-list-in-the-repository.sh",
    t6060_ask => "t6060-ask.sh",
    t6070_stock_servers => "t6070-stock-servers.sh",
    t6080_learn_v0 => "t6080-learn-v0.sh",
    t7000_link => "t7000-link.sh",
    t8000_debian => "t8000-debian.sh",
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("t")
}

/// Runs a script, and panics with what it printed unless every case passed.
fn run(script: &str) {
    let binaries = Path::new(env!("CARGO_BIN_EXE_git-mirror")).parent();
    let output = Command::new("sh")
        .arg(directory().join(script))
        .env("GMF_BIN_DIR", binaries.expect("a binary is in a directory"))
        .output()
        .expect("sh starts");
    let tap = String::from_utf8_lossy(&output.stdout);
    let complete = tap.lines().any(|line| line.starts_with("1.."));
    tap.lines().filter(|line| line.starts_with("1..0 ")).for_each(|line| println!("{script}: {line}"));
    let failed = tap.lines().any(|line| line.starts_with("not ok"));
    assert!(
        output.status.success() && complete && !failed,
        "{script}: {}\n{tap}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn every_script_is_named_here() {
    let entries = fs::read_dir(directory()).expect("t is readable");
    let mut forgotten: Vec<String> = entries
        .map(|entry| entry.expect("t is readable").file_name())
        .filter_map(|name| name.into_string().ok())
        .filter(|name| name.ends_with(".sh") && !name.starts_with("lib"))
        .filter(|name| !SCRIPTS.contains(&name.as_str()))
        .collect();
    forgotten.sort();
    assert!(forgotten.is_empty(), "no test runs {forgotten:?}: add them to t/main.rs");
}
