//! git's own helper protocol with `git remote-https`, passed through: for pushes, and servers that do not speak v2.

use std::io::Write;
use std::os::fd::AsFd;

use super::Helper;
use crate::adapters::net::channel::HttpHelper;
use crate::values::Result;

impl<O: Write + AsFd> Helper<'_, O> {
    /// git remote-https must hear `capabilities` first, too; what it answers is known.
    pub(super) fn http_capabilities(&mut self) -> Result<()> {
        let Some(http) = self.http.as_mut() else { return Ok(()) };
        http.send("capabilities")?;
        while !http.line()?.is_empty() {}
        Ok(())
    }

    /// Speaks git's own helper protocol with `git remote-https`, verbatim. `line` is the command that git has sent
    /// already.
    pub(super) fn pass_through(&mut self, line: String) -> Result<i32> {
        let Some(mut http) = self.http.take() else { return Ok(0) };
        let mut next = Some(line);
        while let Some(line) = next {
            match line.split(' ').next().unwrap_or_default() {
                "" => {
                    http.send("")?;
                    break;
                }
                // git asks once more before it pushes or fetches.
                "connect" => self.say("fallback\n")?,
                "option" => {
                    http.send(&line)?;
                    let answer = http.line()?;
                    self.say(&format!("{answer}\n"))?;
                }
                "fetch" | "push" => {
                    self.other = if line.starts_with("push") { "push" } else { "fetch" };
                    for line in self.batch(line)? {
                        http.send(&line)?;
                    }
                    http.send("")?;
                    self.until_blank(&mut http)?;
                }
                _ => {
                    http.send(&line)?;
                    self.until_blank(&mut http)?;
                }
            }
            next = self.git_in.read_line()?;
        }
        Ok(http.wait())
    }

    pub(super) fn batch(&mut self, first: String) -> Result<Vec<String>> {
        let mut batch = vec![first];
        while let Some(line) = self.git_in.read_line()? {
            if line.is_empty() {
                break;
            }
            batch.push(line);
        }
        Ok(batch)
    }

    pub(super) fn until_blank(&mut self, http: &mut HttpHelper) -> Result<()> {
        loop {
            let line = http.line()?;
            self.say(&format!("{line}\n"))?;
            if line.is_empty() {
                return Ok(());
            }
        }
    }
}
