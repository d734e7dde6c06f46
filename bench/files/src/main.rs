//! `bench-files [OPTION]...`: what a file operation costs, on a core's ring and by `Core::blocking`, in one run.
//!
//! The two take turns in slices, and the ratio is that of two slices that followed each other: what else the machine
//! does concerns both. See bench/README.md.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use kiang::fs::{Dir, File, OpenOptions};
use kiang::{App, Bytes, Core, Cores, Server};

const USAGE: &str = "usage: bench-files [option]...
  --dir PATH     where the file of 16 MiB is put               (the folder for temporary files)
  --what NAME    read-4k, read-64k or write-4k-sync            (each)
  --way NAME     ring or pool; then there is no ratio          (both in turn)
  --depth N      operations under way at a time                (1 and 32)
  --operations N in a slice                                    (2000; a tenth with a sync)
  --rounds N     slices of each                                (11)";
const LENGTH: u32 = 16 << 20;

#[derive(Clone)]
struct Options {
    dir: PathBuf,
    what: Vec<What>,
    ways: Vec<Way>,
    depths: Vec<u32>,
    operations: u32,
    rounds: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Read(usize),
    WriteAndSync,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Ring,
    Pool,
}

/// One file, open in both ways.
struct Files {
    core: Core,
    ring: File,
    pool: Arc<std::fs::File>,
}

/// What one operation took.
#[derive(Clone, Copy)]
struct Cost {
    cpu: f64,
    wall: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = parse(std::env::args().skip(1)).map_err(|wrong| format!("{wrong}\n{USAGE}"))?;
    let path = options.dir.join(format!("bench-files-{}", std::process::id()));
    std::fs::write(&path, vec![b'x'; LENGTH as usize])?;
    let server = Server::bind("127.0.0.1:0")?.signals(false).cores(Cores::count(1));
    let handle = server.handle();
    let name = path.clone();
    let ended = server.run(move |core| {
        let (options, path, handle) = (options.clone(), name.clone(), handle.clone());
        core.clone().spawn(async move {
            if let Err(error) = measure(core, &options, path).await {
                eprintln!("bench-files: {error}");
            }
            handle.shutdown();
        });
        App::new()
    });
    std::fs::remove_file(path)?;
    Ok(ended?)
}

async fn measure(core: Core, options: &Options, path: PathBuf) -> Result<(), Box<dyn Error>> {
    let dir = Dir::open(&core, path.parent().unwrap_or(&path)).await?;
    let name = path.file_name().unwrap_or_default();
    let ring = dir.open_file(name, &OpenOptions::new().read(true).write(true)).await?;
    let pool = std::fs::File::options().read(true).write(true).open(&path)?;
    // Once through, so that it is in the page cache; and written back, so that the first sync has no more to do.
    ring.read_at(0, LENGTH as usize).await?;
    ring.sync_data().await?;
    let files = Rc::new(Files { core, ring, pool: Arc::new(pool) });
    println!("what           depth  way    CPU us/op   wall us/op   CPU, ratio to the pool (quartiles)");
    for &what in &options.what {
        for &depth in &options.depths {
            compare(&files, options, what, depth).await;
        }
    }
    Ok(())
}

async fn compare(files: &Rc<Files>, options: &Options, what: What, depth: u32) {
    let operations = if what == What::WriteAndSync { options.operations / 10 } else { options.operations };
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); options.ways.len()];
    // The first round is not counted.
    for round in 0..=options.rounds {
        for number in 0..options.ways.len() {
            let number = (number + round) % options.ways.len();
            let cost = slice(files, what, options.ways[number], depth, operations).await;
            if round > 0 {
                costs[number].push(cost);
            }
        }
    }
    let label = match what {
        What::Read(length) => format!("read-{}k", length >> 10),
        What::WriteAndSync => "write-4k-sync".to_owned(),
    };
    for (way, costs) in options.ways.iter().zip(&costs) {
        let [_, cpu, _] = quartiles(costs.iter().map(|cost| cost.cpu));
        let [_, wall, _] = quartiles(costs.iter().map(|cost| cost.wall));
        let way = format!("{way:?}").to_lowercase();
        println!("{label:13}  {depth:5}  {way:5}  {cpu:9.2}   {wall:10.2}");
    }
    if let [ring, pool] = &costs[..] {
        let ratios = ring.iter().zip(pool).map(|(ring, pool)| ring.cpu / pool.cpu);
        let [low, median, high] = quartiles(ratios);
        println!("{label:13}  {depth:5}  ratio{:27}   {median:.2} ({low:.2}-{high:.2})", "");
    }
}

/// So many operations, `depth` of them at a time.
async fn slice(files: &Rc<Files>, what: What, way: Way, depth: u32, operations: u32) -> Cost {
    let left = Rc::new(Cell::new(depth));
    let waiting: Rc<RefCell<Option<Waker>>> = Rc::default();
    let (cpu, wall) = (cpu_time(), Instant::now());
    for lane in 0..depth {
        let (files, left, waiting) = (files.clone(), left.clone(), waiting.clone());
        files.core.clone().spawn(async move {
            let mut buffer = Vec::new();
            for number in (lane..operations).step_by(depth as usize) {
                buffer = files.operate(what, way, number, buffer).await;
            }
            left.set(left.get() - 1);
            if left.get() == 0
                && let Some(waker) = waiting.take()
            {
                waker.wake();
            }
        });
    }
    poll_fn(|cx| {
        *waiting.borrow_mut() = Some(cx.waker().clone());
        if left.get() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(operations);
    Cost { cpu: each(cpu_time().saturating_sub(cpu)), wall: each(wall.elapsed()) }
}

impl Files {
    async fn operate(&self, what: What, way: Way, number: u32, mut buffer: Vec<u8>) -> Vec<u8> {
        static PAGE: [u8; 4096] = [b'y'; 4096];
        buffer.clear();
        // A prime number of pages, so that neighbours in time are none in the file.
        let at = |length: usize| {
            u64::from(number) * 257 % (u64::from(LENGTH) - length as u64).div_ceil(4096) * 4096
        };
        match (what, way) {
            (What::Read(length), Way::Ring) => {
                let offset = at(length);
                self.ring.read_into(offset, length, buffer).await.expect("the file is there")
            }
            (What::Read(length), Way::Pool) => {
                let (offset, file) = (at(length), Arc::clone(&self.pool));
                let read = self.core.blocking(move || {
                    buffer.resize(length, 0);
                    file.read_exact_at(&mut buffer, offset).map(|()| buffer)
                });
                read.await.expect("the pool has room").expect("the file is there")
            }
            (What::WriteAndSync, Way::Ring) => {
                let page = Bytes::from_static(&PAGE);
                self.ring.write_and_sync(at(4096), page).await.expect("a disk with room");
                buffer
            }
            (What::WriteAndSync, Way::Pool) => {
                let (offset, file) = (at(4096), Arc::clone(&self.pool));
                let write = self.core.blocking(move || {
                    file.write_all_at(&PAGE, offset)?;
                    file.sync_data()
                });
                write.await.expect("the pool has room").expect("a disk with room");
                buffer
            }
        }
    }
}

/// CPU time of the whole process: the core's thread, those of the pool, and the kernel's workers for the ring.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        dir: std::env::temp_dir(),
        what: vec![What::Read(4 << 10), What::Read(64 << 10), What::WriteAndSync],
        ways: vec![Way::Ring, Way::Pool],
        depths: vec![1, 32],
        operations: 2000,
        rounds: 11,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} wants a value, or is no option"))?;
        let number = || match value.parse() {
            Ok(number @ 1..) => Ok(number),
            _ => Err(format!("{name} {value}: not a number from 1 on")),
        };
        match (name.as_str(), value.as_str()) {
            ("--dir", _) => options.dir = PathBuf::from(&value),
            ("--what", "read-4k") => options.what = vec![What::Read(4 << 10)],
            ("--what", "read-64k") => options.what = vec![What::Read(64 << 10)],
            ("--what", "write-4k-sync") => options.what = vec![What::WriteAndSync],
            ("--way", "ring") => options.ways = vec![Way::Ring],
            ("--way", "pool") => options.ways = vec![Way::Pool],
            ("--depth", _) => options.depths = vec![number()?],
            ("--operations", _) => options.operations = number()?.max(10),
            ("--rounds", _) => options.rounds = usize::try_from(number()?).unwrap_or(usize::MAX),
            _ => return Err(format!("{name} {value}: no such option")),
        }
    }
    Ok(options)
}
