//! Names of tasks, and notes of what waits for an event. A leaf: the ring and the wheel keep notes, the tasks redeem them.

use std::task::Waker;

/// Which task of a core. A place is used again, so a generation tells its users apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    pub(super) place: u32,
    pub(super) generation: u32,
}

/// A note of what waits for an event: a task of this core that was polled directly, which costs nothing to note; or any
/// other future, by its waker.
#[derive(Debug, Default)]
pub(crate) enum Waiter {
    #[default]
    Nobody,
    Task(TaskId),
    Other(Waker),
}
