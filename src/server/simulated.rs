//! The way of the simulation into a server: what [`Server`](super::Server) does on each core, for one core.

use std::time::Duration;

use super::deadlines::Deadlines;
use super::serve::{self, Setup};
use super::service::Service;
use crate::http::limits::Limits;
use crate::runtime::{Core, Listener};

/// Begins to serve on a core.
pub(crate) fn serve(
    core: &Core,
    service: Box<dyn Service>,
    listener: Listener,
    (limits, deadlines, drain): (Limits, Deadlines, Duration),
) {
    let setup = Setup { limits, deadlines, memory: None, drain, loads: None, access_log: None };
    serve::serve(core, service, vec![listener], setup);
}
