//! The server side: an answer, from the connection through stock git to the client.

pub mod http_backend;
#[cfg(feature = "serve")]
pub mod serve;
pub mod served;
pub mod upload_pack;
