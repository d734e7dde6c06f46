//! One operation as its caller awaits it, and the handle of what is open.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::super::core::Core;
use super::super::ring::{FileId, Finished, JobId, Work};

/// An open file or directory of a core. Dropping it closes it when the last operation on it has ended.
pub(super) struct Handle {
    pub(super) core: Core,
    pub(super) id: FileId,
}

impl Handle {
    /// Opens something.
    pub(super) async fn open(core: &Core, work: Work) -> io::Result<Self> {
        match run(core, work).await? {
            Finished::Opened(id) => Ok(Self { core: core.clone(), id }),
            other => unreachable!("an open came to {other:?}"),
        }
    }

    /// Runs an operation on this file.
    pub(super) async fn run(&self, work: Work) -> io::Result<Finished> {
        run(&self.core, work).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.ring().release_file(self.id);
    }
}

fn run(core: &Core, work: Work) -> Operation<'_> {
    let job = core.ring().start_file(work);
    Operation { core, job: Some(job) }
}

struct Operation<'a> {
    core: &'a Core,
    /// Absent once it is over.
    job: Option<JobId>,
}

impl Future for Operation<'_> {
    type Output = io::Result<Finished>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let job = self.job.expect("a future is not polled after it was ready");
        let polled = self.core.ring().poll_file(job, self.core.tasks(), cx);
        if polled.is_ready() {
            self.job = None;
        }
        polled
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.job {
            self.core.ring().abandon_file(job, self.core.tasks());
        }
    }
}
