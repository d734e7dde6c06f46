//! Jobs on a ring that is turned by hand.

use std::fs::File;
use std::io::{PipeWriter, Write as _, pipe};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::super::super::mailbox::Mailbox;
use super::super::super::tasks::testing::tasks;
use super::*;
use crate::bytes::Bytes;

/// A ring, and what it needs around it.
struct Bench {
    ring: Ring,
    tasks: Rc<Tasks>,
    _mailbox: Arc<Mailbox<()>>,
}

impl Bench {
    fn new() -> Self {
        let mailbox = Mailbox::new().expect("a pipe");
        let ring = Ring::new(mailbox.ear()).expect("io_uring");
        Self { ring, tasks: tasks(), _mailbox: mailbox }
    }

    fn turn(&mut self, wait: bool) {
        self.ring.turn(wait, &self.tasks).expect("the ring turns");
    }

    fn poll(&mut self, job: JobId) -> Poll<io::Result<Finished>> {
        self.ring.poll_file(job, &self.tasks, &Context::from_waker(Waker::noop()))
    }

    fn wait(&mut self, job: JobId) -> io::Result<Finished> {
        loop {
            match self.poll(job) {
                Poll::Ready(result) => return result,
                Poll::Pending => self.turn(true),
            }
        }
    }

    fn abandon(&mut self, job: JobId) {
        self.ring.abandon_file(job, &self.tasks);
    }

    fn add(&mut self, file: impl Into<OwnedFd>) -> FileId {
        self.ring.add_file(file.into())
    }

    /// A read that ends when a byte is written.
    fn read(&mut self, file: FileId) -> JobId {
        self.ring.start_file(Work::Read { file, buffer: Vec::with_capacity(1), until: 1, offset: 0 })
    }

    fn pipe(&mut self) -> (FileId, PipeWriter) {
        let (reader, writer) = pipe().expect("a pipe");
        (self.add(reader), writer)
    }

    fn write(&mut self, file: FileId, bytes: &'static str, sync: Option<SyncKind>) -> JobId {
        self.ring.start_file(Work::Write(Write::new(file, 0, Bytes::from(bytes), sync)))
    }

    /// Turns until the kernel holds nothing of any file.
    fn settle(&mut self) {
        while self.ring.files.running > 0 || self.ring.files.open.iter().any(|(_, file)| file.users == 0) {
            self.turn(true);
        }
    }

    /// Gives the file up, after which nothing may be left.
    fn ends_empty_without(mut self, file: FileId) {
        self.ring.release_file(file);
        self.settle();
        let files = &self.ring.files;
        let left = (files.jobs.len(), files.open.len(), files.queue.len(), files.running);
        assert_eq!(left, (0, 0, 0, 0), "jobs, open files, waiting, running");
    }
}

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").expect("every Linux has it")
}

/// A file without a name.
fn temporary() -> File {
    let path = std::env::temp_dir().join(format!("kiang-{}-{:?}", std::process::id(), Instant::now()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a temporary file");
    std::fs::remove_file(path).expect("our own file");
    file
}

#[test]
fn what_goes_beyond_the_bound_waits_and_runs_in_its_order() {
    let mut bench = Bench::new();
    let (file, mut writer) = bench.pipe();
    let jobs: Vec<_> = (0..3 * MOST_RUNNING).map(|_| bench.read(file)).collect();
    bench.turn(false);
    assert_eq!((bench.ring.files.running, bench.ring.files.queue.len()), (MOST_RUNNING, 2 * MOST_RUNNING));
    // Given up while it waits: it leaves no gap and is never begun.
    bench.abandon(jobs[MOST_RUNNING]);
    assert_eq!(bench.ring.files.queue.len(), 2 * MOST_RUNNING - 1);
    let left = |bench: &mut Bench| -> Vec<_> {
        let jobs = jobs.iter().filter(|job| **job != jobs[MOST_RUNNING]);
        jobs.map(|job| matches!(bench.ring.job(*job).stage, Stage::Queued(_))).collect()
    };
    writer.write_all(&[b'x'; 50]).expect("a pipe takes 64 KiB");
    while bench.ring.files.queue.len() > 2 * MOST_RUNNING - 51 {
        bench.turn(true);
    }
    assert_eq!(bench.ring.files.running, MOST_RUNNING, "one begins for each that ends");
    assert!(left(&mut bench).is_sorted(), "first those that came first");
    writer.write_all(&[b'x'; 3 * MOST_RUNNING - 51]).expect("a pipe takes 64 KiB");
    for job in jobs.iter().filter(|job| **job != jobs[MOST_RUNNING]) {
        assert!(matches!(bench.wait(*job), Ok(Finished::Read(bytes)) if bytes == b"x"));
    }
    bench.ends_empty_without(file);
}

#[test]
fn a_job_given_up_keeps_its_memory_and_its_file_until_the_kernel_has_done() {
    let mut bench = Bench::new();
    let (file, _writer) = bench.pipe();
    let job = bench.read(file);
    bench.turn(false);
    bench.abandon(job);
    bench.ring.release_file(file);
    assert_eq!((bench.ring.files.jobs.len(), bench.ring.files.open.len()), (1, 1), "the read is under way");
    let job = bench.ring.job(job);
    assert_eq!(job.operations, 2, "the read and its cancellation");
    assert!(matches!(&job.work, Work::Read { buffer, .. } if buffer.capacity() >= 1));
    bench.settle();
    assert_eq!((bench.ring.files.jobs.len(), bench.ring.files.open.len()), (0, 0));
}

#[test]
fn what_an_abandoned_open_gets_is_closed() {
    let mut bench = Bench::new();
    let open =
        |bench: &mut Bench| bench.ring.start_file(Work::open(None, c"/dev/null".into(), libc::O_RDONLY, 0));
    let (waiting, done) = (open(&mut bench), open(&mut bench));
    let Finished::Opened(kept) = bench.wait(done).expect("every Linux has it") else { unreachable!() };
    let done = open(&mut bench);
    while !matches!(bench.ring.job(done).stage, Stage::Done(_)) {
        bench.turn(true);
    }
    bench.abandon(done);
    bench.abandon(waiting);
    let not_begun = open(&mut bench);
    bench.abandon(not_begun);
    bench.ends_empty_without(kept);
}

#[test]
fn syncs_of_a_file_take_turns_and_after_a_failure_there_is_none() {
    let mut bench = Bench::new();
    let file = bench.add(null());
    let jobs: Vec<_> = (0..4).map(|_| bench.write(file, "", Some(SyncKind::Data))).collect();
    let given_up = bench.write(file, "", Some(SyncKind::All));
    assert_eq!(bench.ring.files.running, 1, "of two under way at once only one would be told of a failure");
    bench.abandon(given_up);
    let (first, second) = (bench.wait(jobs[0]).unwrap_err(), bench.poll(jobs[1]));
    assert_eq!(first.raw_os_error(), Some(libc::EINVAL));
    assert!(matches!(second, Poll::Ready(Err(error)) if error.raw_os_error() == first.raw_os_error()));
    let late = bench.write(file, "late", Some(SyncKind::Data));
    for job in [jobs[2], jobs[3], late] {
        assert!(matches!(bench.poll(job), Poll::Ready(Err(_))), "refused without asking the kernel");
    }
    let plain = bench.write(file, "plain", None);
    assert!(bench.wait(plain).is_ok());
    bench.ends_empty_without(file);
}

#[test]
fn a_turn_to_sync_that_is_given_up_goes_to_the_next() {
    let mut bench = Bench::new();
    let file = bench.add(temporary());
    let (pipe, _writer) = bench.pipe();
    let reads: Vec<_> = (0..MOST_RUNNING).map(|_| bench.read(pipe)).collect();
    let [first, second] = [(); 2].map(|()| bench.write(file, "x", Some(SyncKind::Data)));
    assert!(matches!(bench.ring.job(first).stage, Stage::Queued(_)));
    assert!(matches!(bench.ring.job(second).stage, Stage::Behind));
    bench.abandon(first);
    assert!(matches!(bench.ring.job(second).stage, Stage::Queued(_)));
    for job in reads {
        bench.abandon(job);
    }
    bench.wait(second).expect("a disk with room");
    bench.ring.release_file(pipe);
    bench.ends_empty_without(file);
}

#[test]
fn a_chain_that_does_not_fit_is_no_chain_and_ends_as_well() {
    let mut bench = Bench::new();
    let file = bench.add(temporary());
    let linked = bench.write(file, "linked", Some(SyncKind::Data));
    assert!(bench.ring.job(linked).linked);
    assert_eq!(bench.ring.job(linked).operations, 2);
    bench.wait(linked).expect("a disk with room");
    for more_than_there_is_room in [false, true] {
        while bench.ring.kernel.room() > 0 {
            bench.ring.push(opcode::Nop::new().build(), Op::Beat, 0);
        }
        if more_than_there_is_room {
            bench.ring.push(opcode::Nop::new().build(), Op::Beat, 0);
        }
        let alone = bench.write(file, "alone", Some(SyncKind::Data));
        assert!(!bench.ring.job(alone).linked);
        assert_eq!(bench.ring.job(alone).operations, 1, "the write; its sync follows it");
        bench.wait(alone).expect("a disk with room");
    }
    // One place, where two are needed.
    while bench.ring.kernel.room() > 1 {
        bench.ring.push(opcode::Nop::new().build(), Op::Beat, 0);
    }
    let alone = bench.write(file, "alone", Some(SyncKind::All));
    assert!(!bench.ring.job(alone).linked);
    bench.wait(alone).expect("a disk with room");
    bench.ends_empty_without(file);
}

#[test]
fn a_ring_that_is_dropped_ends_what_is_under_way_and_closes_what_it_gets() {
    let begun = Instant::now();
    let target = temporary();
    let path = format!("/proc/self/fd/{}", target.as_raw_fd());
    let name = std::fs::read_link(&path).expect("procfs is mounted");
    let mut bench = Bench::new();
    let (file, _writer) = bench.pipe();
    for _ in 0..2 * MOST_RUNNING {
        bench.read(file);
    }
    let open = Work::open(None, std::ffi::CString::new(path).expect("no NUL"), libc::O_RDONLY, 0);
    // Before all that wait, so that it runs.
    bench.ring.files.running -= 1;
    bench.ring.start_file(open);
    drop(bench);
    assert!(begun.elapsed().as_millis() < 1000, "nothing was waited for in vain: {:?}", begun.elapsed());
    let open = std::fs::read_dir("/proc/self/fd").expect("procfs is mounted").flatten();
    let open = open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == name));
    assert_eq!(open.count(), 1, "our own");
}
