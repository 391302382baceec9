//! `git mirror completions`: scripts by which git's own completion completes `git mirror` and `git mirror-fetch`.
//!
//! Names of commands and options come from the definition of the command line, those of remotes and mirrors from the
//! repository when <TAB> is pressed. The scripts hook into what git's completion looks for: `_git_<command>` in bash
//! (`__git_complete_command` in git-completion.bash), `_git-<command>` in zsh (its own `_git`), and rules for `git` in
//! fish.

use clap::Command;

/// A shell that has a completion for git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// bash, with git-completion.bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Returns the script for a shell; `mirror` and `fetch` are the command lines of the two programs.
pub fn script(shell: Shell, mirror: &Command, fetch: &Command) -> String {
    match shell {
        Shell::Bash => filled(include_str!("bash"), bash(mirror), &options(fetch).join(" ")),
        Shell::Zsh => filled(include_str!("zsh"), zsh(mirror), &zsh_options(fetch, "\t\t").join("")),
        Shell::Fish => {
            filled(include_str!("fish"), fish(mirror), &fish_options(fetch, "git-mirror-fetch", None).concat())
        }
    }
}

/// Returns a script with what belongs in its marked lines: the commands, their options, and those of `mirror-fetch`.
fn filled(template: &str, (commands, options): (String, String), fetch: &str) -> String {
    template.replace("@COMMANDS@", &commands).replace("@OPTIONS@\n", &options).replace("@FETCH@", fetch)
}

fn commands(mirror: &Command) -> impl Iterator<Item = &Command> {
    mirror.get_subcommands().filter(|command| !command.is_hide_set())
}

fn options(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let long = shown.filter_map(|argument| Some((argument.get_long()?, argument.get_action().takes_values())));
    long.map(|(name, value)| format!("--{name}{}", if value { "=" } else { "" })).collect()
}

fn bash(mirror: &Command) -> (String, String) {
    let names: Vec<&str> = commands(mirror).map(Command::get_name).collect();
    let options = commands(mirror).filter(|command| !options(command).is_empty());
    let options =
        options.map(|command| format!("\t{}) echo '{}' ;;\n", command.get_name(), self::options(command).join(" ")));
    (names.join(" "), options.collect())
}

/// Returns a text in single quotes of zsh and fish; what zsh's `_describe` takes for an end is escaped.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "'\\''"))
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn zsh(mirror: &Command) -> (String, String) {
    let names = commands(mirror).map(|command| {
        let (name, about) = (command.get_name(), about(command));
        format!("\t\t{}\n", quoted(&format!("{name}:{about}")))
    });
    let options = commands(mirror).map(|command| {
        let options = zsh_options(command, "\t\t\t").concat();
        format!("\t({})\n\t\toptions+=(\n{options}\t\t)\n\t\t;;\n", command.get_name())
    });
    (names.collect(), options.collect())
}

fn zsh_options(command: &Command, indent: &str) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let lines = shown.filter_map(|argument| {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('[', "(").replace(']', ")").replace(':', "\\:");
        let value = if argument.get_action().takes_values() { "=:value: " } else { "" };
        let (name, value) = (argument.get_long()?, value.split_at(value.len().min(1)));
        Some(format!("{indent}{}\n", quoted(&format!("--{name}{}[{help}]{}", value.0, value.1))))
    });
    lines.collect()
}

fn fish(mirror: &Command) -> (String, String) {
    let names: Vec<&str> = commands(mirror).map(Command::get_name).collect();
    let mut rules = String::new();
    for command in commands(mirror) {
        let name = command.get_name();
        rules.push_str(&format!(
            "complete -f -c git-mirror -n __git_mirror_needs_command -a {name} -d {}\n",
            quoted(&about(command))
        ));
        rules.push_str(&fish_options(command, "git-mirror", Some(name)).concat());
    }
    (names.join(" "), rules)
}

fn fish_options(command: &Command, program: &str, within: Option<&str>) -> Vec<String> {
    let within = within.map(|name| format!(" -n '__git_mirror_in {name}'")).unwrap_or_default();
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let lines = shown.filter_map(|argument| {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let value = if argument.get_action().takes_values() { " -r" } else { "" };
        let name = argument.get_long()?;
        Some(format!("complete -f -c {program}{within} -l {name}{value} -d {}\n", quoted(&help)))
    });
    lines.collect()
}
