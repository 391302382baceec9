//! The server side: an answer, from the connection through stock git to the client.

pub mod http_backend;
pub mod request;
#[cfg(feature = "serve")]
pub mod serve;
pub mod served;
pub mod site;
mod standing_in;
mod stock;
pub mod upload_pack;
