//! The application: which handler answers which request.

mod app;
mod arguments;
mod handler;
mod normal;

pub use self::app::App;
pub use self::handler::Handler;
