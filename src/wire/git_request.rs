//! The request of the `git://` protocol (gitprotocol-pack(5), "Git Transport"): who wants what of which repository.

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRequest {
    /// `git-upload-pack`, or another service.
    pub service: String,
    /// The repository as the client names it.
    pub path: String,
    /// What is in `GIT_PROTOCOL`.
    pub protocol: String,
}

impl GitRequest {
    /// Reads the payload of the first packet; `None` where it is no request.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == 0).map(|part| std::str::from_utf8(part).ok());
        let (service, path) = parts.next()??.split_once(' ')?;
        // `host=<host>`, an empty one, then what is for GIT_PROTOCOL
        let extra: Vec<&str> = parts.skip_while(|part| *part != Some("")).flatten().filter(|p| !p.is_empty()).collect();
        Some(GitRequest {
            service: service.into(),
            path: path.trim_end_matches('\n').into(),
            protocol: extra.join(":"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests() {
        let read = |line: &str| {
            let request = GitRequest::parse(line.as_bytes())?;
            Some((request.service, request.path, request.protocol))
        };
        let want = |path: &str, protocol: &str| Some(("git-upload-pack".into(), path.into(), protocol.into()));
        assert_eq!(read("git-upload-pack /a b.git\0host=h\0\0version=2\0"), want("/a b.git", "version=2"));
        assert_eq!(read("git-upload-pack /a\0host=h\0"), want("/a", ""));
        assert_eq!(read("git-upload-pack /a\n"), want("/a", ""));
        assert_eq!(read("git-upload-pack /a\0host=h\0\0version=2\0x=y\0"), want("/a", "version=2:x=y"));
        assert_eq!(read("nonsense"), None);
    }
}
