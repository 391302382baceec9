//! L4: what the program is for. Each puts the layers below together; none prints.

pub mod asking;
pub mod choosing;
pub mod demo;
pub mod helper;
pub mod http_backend;
pub mod learning;
pub mod man;
pub mod manage;
pub mod mirror_fetch;
pub mod observing;
pub mod publishing;
pub mod relay;
pub mod seeding;
pub mod serve;
pub mod served;
pub mod standing;
pub mod steps;
pub mod upload_pack;
