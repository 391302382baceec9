//! Answers over HTTP, as both the advertisement and requests make them.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use hyper::{Response, StatusCode};

/// Bytes that are passed on at once: what a pipe holds.
pub const PIECE: usize = 64 * 1024;

/// An answer whose body may still have to be made.
pub type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// Returns an answer, headed as those of git-http-backend(1).
pub fn answer(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, std::io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let value = hyper::header::HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, value(kind));
    headers.insert(CACHE_CONTROL, value("no-cache, max-age=0, must-revalidate"));
    headers.insert(HeaderName::from_static("expires"), value("Fri, 01 Jan 1980 00:00:00 GMT"));
    headers.insert(HeaderName::from_static("pragma"), value("no-cache"));
    answer
}

/// Returns an answer of a content type, all of it in memory.
pub fn with_type(status: StatusCode, kind: &'static str, body: Bytes) -> Answer {
    answer(status, kind, Full::new(body).map_err(|never| match never {}).boxed())
}

/// Returns a short answer for people.
pub fn plain(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

/// Returns the answer where git could not be run or failed.
pub fn failed() -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, "git failed; the server's log says why\n")
}
