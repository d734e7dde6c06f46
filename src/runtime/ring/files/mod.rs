//! Operations on files: who may run now, what the kernel holds, and what becomes of that.
//!
//! A *job* is one operation as its caller sees it: a read of so many bytes, a write with the sync behind it. One job
//! may take several operations of the kernel, one after the other, since a read or a write may come out short. The
//! job owns all memory that those may touch, and keeps the files open that they work on; it lasts until the last of
//! them has completed, whether or not its caller still waits.

#[cfg(test)]
mod tests;
mod work;
mod write;

use io_uring::{opcode, squeue, types};
use slab::Slab;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::task::{Context, Poll};

use super::super::tasks::Tasks;
use super::super::waiter::Waiter;
use super::{Op, Ring};

use self::work::Step;
pub(crate) use self::work::{Finished, Work};
pub(crate) use self::write::{SyncKind, Write};

/// How many jobs of one core run at a time. The kernel has no more than a few threads for those that would block
/// (four for each processor, `IORING_REGISTER_IOWQ_MAX_WORKERS` in `io_uring_register(2)`); what goes beyond this
/// waits here, in the order it came, where it can still be given up.
const MOST_RUNNING: usize = 128;

/// Which open file of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId(u32);

/// Which job of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JobId(u32);

/// The open files of a ring, and the jobs on them.
#[derive(Default)]
pub(super) struct Files {
    open: Slab<OpenFile>,
    jobs: Slab<Job>,
    running: usize,
    /// Jobs that wait until fewer run, by when they came.
    queue: BTreeMap<u64, JobId>,
    tickets: u64,
}

/// An open file or directory.
struct OpenFile {
    /// Absent once the close has been handed to the kernel.
    fd: Option<OwnedFd>,
    /// Handles and jobs; the file is closed when there is none.
    users: u32,
    /// A job that syncs this file has its turn, and others wait behind it. The kernel tells a failure of writing back
    /// to one sync only (`errseq_t`): of two under way together, the other would be told that all is well.
    syncing: bool,
    behind: VecDeque<JobId>,
    /// The error of a sync that failed. No sync is tried after it: the kernel has marked the pages clean that it
    /// could not write, and would answer that all is well.
    sync_error: Option<i32>,
}

struct Job {
    work: Work,
    stage: Stage,
    /// Operations of this job that the kernel still holds.
    operations: u8,
    /// What the operation itself came to, and the sync behind it.
    result: Option<i32>,
    sync_result: Option<i32>,
    /// The two were handed to the kernel as a chain: it begins the sync after the whole write only.
    linked: bool,
    waiter: Waiter,
    /// No caller waits any more.
    abandoned: bool,
}

enum Stage {
    /// Behind another sync of the same file.
    Behind,
    /// In the queue, with this ticket.
    Queued(u64),
    Running,
    Done(io::Result<Finished>),
}

impl Ring {
    /// Begins a job, or has it wait for its turn. The caller polls it ([`poll_file`](Self::poll_file)) or gives it up
    /// ([`abandon_file`](Self::abandon_file)).
    pub(crate) fn start_file(&mut self, work: Work) -> JobId {
        for file in work.files().into_iter().flatten() {
            self.open_file(file).users += 1;
        }
        let synced = work.synced();
        let id = JobId(self.files.jobs.insert(Job {
            work,
            stage: Stage::Behind,
            operations: 0,
            result: None,
            sync_result: None,
            linked: false,
            waiter: Waiter::Nobody,
            abandoned: false,
        }) as u32);
        match synced.map(|file| self.open_file(file)) {
            Some(OpenFile { sync_error: Some(error), .. }) => {
                let error = io::Error::from_raw_os_error(*error);
                self.refuse(id, error);
            }
            Some(OpenFile { syncing: true, behind, .. }) => behind.push_back(id),
            Some(file) => {
                file.syncing = true;
                self.admit(id);
            }
            None => self.admit(id),
        }
        id
    }

    /// The job's result, once; the job is over then.
    pub(crate) fn poll_file(
        &mut self,
        id: JobId,
        tasks: &Tasks,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Finished>> {
        let job = self.job(id);
        if !matches!(job.stage, Stage::Done(_)) {
            tasks.wait(&mut job.waiter, cx);
            return Poll::Pending;
        }
        match self.files.jobs.remove(id.0 as usize).stage {
            Stage::Done(result) => Poll::Ready(result),
            _ => unreachable!("looked at above"),
        }
    }

    /// Gives a job up: one that has not begun never will, and one that has may or may not be done. What could wait
    /// for ever (a FIFO's other end) is cancelled.
    pub(crate) fn abandon_file(&mut self, id: JobId, tasks: &Tasks) {
        let job = self.job(id);
        job.abandoned = true;
        tasks.forget(&mut job.waiter);
        match job.stage {
            Stage::Running => {
                if job.result.is_none() && job.work.may_wait_for_ever() {
                    job.operations += 1;
                    let cancel = opcode::AsyncCancel::new(Op::File.data(id.0)).build();
                    self.push(cancel, Op::FileCancel, id.0);
                }
                return;
            }
            Stage::Queued(ticket) => {
                self.files.queue.remove(&ticket);
            }
            Stage::Behind | Stage::Done(_) => {}
        }
        let job = self.files.jobs.remove(id.0 as usize);
        if let Stage::Done(result) = job.stage {
            return self.discard(&result);
        }
        if let Some(file) = job.work.synced() {
            if matches!(job.stage, Stage::Behind) {
                self.open_file(file).behind.retain(|waiting| *waiting != id);
            } else {
                self.pass_sync_turn(file, tasks);
            }
        }
        self.release_all(&job.work);
    }

    /// Why the file takes no more syncs, if it takes none.
    pub(crate) fn sync_error(&self, id: FileId) -> Option<io::Error> {
        self.files.open[id.0 as usize].sync_error.map(io::Error::from_raw_os_error)
    }

    /// One user less. Without any the file is closed, through the ring: a close may block (`close(2)`).
    pub(crate) fn release_file(&mut self, id: FileId) {
        let file = self.open_file(id);
        file.users -= 1;
        if file.users == 0
            && let Some(fd) = file.fd.take()
        {
            self.push(opcode::Close::new(types::Fd(fd.into_raw_fd())).build(), Op::FileClose, id.0);
        }
    }

    /// An operation of a file has ended.
    pub(super) fn file_completed(&mut self, op: Op, place: u32, result: i32, tasks: &Tasks) {
        if op == Op::FileClose {
            self.files.open.remove(place as usize);
            return;
        }
        let job = self.job(JobId(place));
        job.operations -= 1;
        match op {
            Op::File => job.result = Some(result),
            Op::FileSync => job.sync_result = Some(result),
            // A cancellation tells nothing that the cancelled operation does not tell.
            _ => {}
        }
        if job.operations == 0 {
            self.advance(JobId(place), tasks);
        }
    }

    /// The kernel holds nothing of the job: goes on with what is left of it, or ends it.
    fn advance(&mut self, id: JobId, tasks: &Tasks) {
        let job = self.job(id);
        let (result, sync_result) = (job.result.take(), job.sync_result.take());
        // A sync that was cancelled has not begun, because the write before it failed or came out short.
        let sync_error = sync_result.filter(|result| *result < 0 && *result != -libc::ECANCELED);
        let step = match sync_error {
            Some(error) => Step::Done(Err(io::Error::from_raw_os_error(-error))),
            None => job.work.step(result, sync_result, job.linked),
        };
        let result = match step {
            Step::Again if !job.abandoned => return self.submit(id),
            Step::Again => Err(io::ErrorKind::Interrupted.into()),
            Step::Opened(fd) => {
                // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                Ok(Finished::Opened(self.add_file(fd)))
            }
            Step::Done(result) => result,
        };
        self.finish(id, result, sync_error.map(|error| -error), tasks);
    }

    fn finish(&mut self, id: JobId, result: io::Result<Finished>, sync_error: Option<i32>, tasks: &Tasks) {
        self.files.running -= 1;
        let synced = self.job(id).work.synced();
        if let Some(file) = synced {
            let file = self.open_file(file);
            file.sync_error = file.sync_error.or(sync_error);
        }
        let job = self.job(id);
        let work = std::mem::replace(&mut job.work, Work::Nothing);
        if job.abandoned {
            self.files.jobs.remove(id.0 as usize);
            self.discard(&result);
        } else {
            job.stage = Stage::Done(result);
            tasks.notify(&mut job.waiter);
        }
        while self.files.running < MOST_RUNNING
            && let Some((_, next)) = self.files.queue.pop_first()
        {
            self.run(next);
        }
        if let Some(file) = synced {
            self.pass_sync_turn(file, tasks);
        }
        self.release_all(&work);
    }

    /// Ends a job that never ran.
    fn refuse(&mut self, id: JobId, error: io::Error) {
        let job = self.job(id);
        job.stage = Stage::Done(Err(error));
        let work = std::mem::replace(&mut job.work, Work::Nothing);
        self.release_all(&work);
    }

    /// Lets the next sync of the file have its turn; or refuses all that wait, if the last one failed.
    fn pass_sync_turn(&mut self, id: FileId, tasks: &Tasks) {
        loop {
            let file = self.open_file(id);
            let Some(next) = file.behind.pop_front() else {
                file.syncing = false;
                return;
            };
            let Some(error) = file.sync_error else {
                return self.admit(next);
            };
            self.refuse(next, io::Error::from_raw_os_error(error));
            tasks.notify(&mut self.job(next).waiter);
        }
    }

    fn admit(&mut self, id: JobId) {
        if self.files.running < MOST_RUNNING {
            return self.run(id);
        }
        let ticket = self.files.tickets;
        self.files.tickets += 1;
        self.files.queue.insert(ticket, id);
        self.job(id).stage = Stage::Queued(ticket);
    }

    fn run(&mut self, id: JobId) {
        self.files.running += 1;
        self.job(id).stage = Stage::Running;
        self.submit(id);
    }

    /// Hands what is left of a job to the kernel.
    fn submit(&mut self, id: JobId) {
        let Files { open, jobs, .. } = &mut self.files;
        let job = &mut jobs[id.0 as usize];
        let (main, sync) = job.work.entries(|file| {
            let fd = open[file.0 as usize].fd.as_ref();
            types::Fd(fd.expect("a job is a user, so the file is open").as_raw_fd())
        });
        let linked = match (&main, &sync) {
            (Some(main), Some(sync)) => self.push_linked(main.clone(), sync.clone(), id.0),
            _ => false,
        };
        let job = self.job(id);
        job.linked = linked;
        if linked {
            job.operations += 2;
        } else if let Some(main) = main {
            // Without room for both the sync follows when the write has ended.
            job.operations += 1;
            self.push(main, Op::File, id.0);
        } else if let Some(sync) = sync {
            job.operations += 1;
            self.push(sync, Op::FileSync, id.0);
        }
    }

    /// Pushes a chain: the kernel begins the second operation when the first has succeeded in full (`IOSQE_IO_LINK`).
    /// A chain ends where a submission ends, so both must fit into the queue. False, and nothing pushed, if they do
    /// not.
    fn push_linked(&mut self, first: squeue::Entry, second: squeue::Entry, place: u32) -> bool {
        if !self.backlog.is_empty() {
            return false;
        }
        let first = first.flags(squeue::Flags::IO_LINK).user_data(Op::File.data(place));
        let chain = [first, second.user_data(Op::FileSync.data(place))];
        // SAFETY: as in `Ring::push`.
        let pushed = unsafe { self.kernel.push_chain(&chain) };
        self.operations += if pushed { chain.len() } else { 0 };
        pushed
    }

    fn add_file(&mut self, fd: OwnedFd) -> FileId {
        FileId(self.files.open.insert(OpenFile {
            fd: Some(fd),
            users: 1,
            syncing: false,
            behind: VecDeque::new(),
            sync_error: None,
        }) as u32)
    }

    fn release_all(&mut self, work: &Work) {
        for file in work.files().into_iter().flatten() {
            self.release_file(file);
        }
    }

    /// Drops a result that no caller takes; what was opened is closed.
    fn discard(&mut self, result: &io::Result<Finished>) {
        if let Ok(Finished::Opened(file)) = result {
            self.release_file(*file);
        }
    }

    /// A file whose place is taken: its id is only with handles and jobs, all of which are users.
    fn open_file(&mut self, id: FileId) -> &mut OpenFile {
        &mut self.files.open[id.0 as usize]
    }

    /// A job whose place is taken: its id is only with its caller and in operations, and it outlives both.
    fn job(&mut self, id: JobId) -> &mut Job {
        &mut self.files.jobs[id.0 as usize]
    }
}

impl Files {
    /// The kernel took fewer entries than it was given, so a chain may have been cut in two: no sync counts that was
    /// behind a write.
    pub(super) fn doubt_links(&mut self) {
        for (_, job) in &mut self.jobs {
            job.linked = false;
        }
    }

    /// An operation of a file has ended while the ring is being dropped: no job goes on, and no file is looked at any
    /// more.
    pub(super) fn completed_at_end(&mut self, op: Op, place: u32, result: i32) {
        let opened = op == Op::File && result >= 0;
        if opened && matches!(self.jobs[place as usize].work, Work::Open { .. }) {
            // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(result) });
        }
    }
}
