//! The request of the `git://` protocol (gitprotocol-pack(5), "Git Transport"): who wants what of which repository.

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRequest {
    /// `git-upload-pack`, or another service.
    pub service: String,
    /// The repository as the client names it, UTF-8 or not.
    pub path: Vec<u8>,
    /// What is in `GIT_PROTOCOL`.
    pub protocol: String,
}

impl GitRequest {
    /// Reads the payload of the first packet; `None` where it is no request.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut parts = line.split(|byte| *byte == 0);
        let first = parts.next()?;
        let space = first.iter().position(|byte| *byte == b' ')?;
        let service = std::str::from_utf8(&first[..space]).ok()?.to_owned();
        let path = &first[space + 1..];
        let path = path.strip_suffix(b"\n").unwrap_or(path).to_vec();
        // `host=<host>`, an empty one, then what is for GIT_PROTOCOL
        let extra = parts.skip_while(|part| !part.is_empty()).filter(|part| !part.is_empty());
        let extra: Vec<&str> = extra.filter_map(|part| std::str::from_utf8(part).ok()).collect();
        Some(GitRequest { service, path, protocol: extra.join(":") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_requests() {
        let read = |line: &[u8]| {
            let request = GitRequest::parse(line)?;
            Some((request.service, request.path, request.protocol))
        };
        let want = |path: &[u8], protocol: &str| Some(("git-upload-pack".into(), path.to_vec(), protocol.into()));
        assert_eq!(read(b"git-upload-pack /a b.git\0host=h\0\0version=2\0"), want(b"/a b.git", "version=2"));
        assert_eq!(read(b"git-upload-pack /a\0host=h\0"), want(b"/a", ""));
        assert_eq!(read(b"git-upload-pack /a\n"), want(b"/a", ""));
        assert_eq!(read(b"git-upload-pack /a\xff\0host=h\0\0version=2\0"), want(b"/a\xff", "version=2"));
        assert_eq!(read(b"git-upload-pack /a\0host=h\0\0version=2\0x=y\0"), want(b"/a", "version=2:x=y"));
        assert_eq!(read(b"nonsense"), None);
    }
}
