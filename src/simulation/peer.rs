//! One peer: carries out its plan, and holds the server to what it promises.

use super::plan::{Ask, Ending, Expects, Plan, Reading};
use super::reply::{Reader, Reply};
use super::rules::{EARLY, LATE, Rules};
use crate::runtime::{Heard, Link, Net};

/// A peer, and what it has seen.
#[expect(clippy::struct_excessive_bools, reason = "what it has seen, each independent of the others")]
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) plan: Plan,
    pub(super) link: Option<Link>,
    /// All that it would send, and where each request's first byte, body and end are.
    stream: Vec<u8>,
    marks: Vec<[usize; 3]>,
    pub(super) written: usize,
    reader: Reader,
    pub(super) answered: usize,
    next_write: u64,
    next_read: u64,
    /// When each request was begun, and when all of it was sent.
    pub(super) begun: Vec<u64>,
    pub(super) sent: Vec<u64>,
    pub(super) last_write: u64,
    pub(super) last_answer: u64,
    /// When the first byte of that answer came.
    pub(super) answer_began: u64,
    /// When something was read last.
    pub(super) last_read: u64,
    /// It reads everything now, however it has read before.
    pub(super) reads_all: bool,
    /// A request whose body waits for 100, the count of those before, and since when.
    awaits: Option<(usize, usize, u64)>,
    pub(super) finished: bool,
    pub(super) gone: bool,
    /// An answer said that it is the last.
    pub(super) announced: bool,
    pub(super) shed: bool,
    pub(super) reset: bool,
    pub(super) concluded: bool,
}

impl Peer {
    pub(super) fn new(id: u64, plan: Plan) -> Self {
        let mut stream = Vec::new();
        let mut marks = Vec::new();
        for ask in &plan.asks {
            let start = stream.len();
            stream.extend_from_slice(&ask.bytes);
            marks.push([start, start + ask.head, stream.len()]);
        }
        Self {
            id,
            plan,
            link: None,
            stream,
            marks,
            written: 0,
            reader: Reader::default(),
            answered: 0,
            next_write: 0,
            next_read: 0,
            begun: Vec::new(),
            sent: Vec::new(),
            last_write: 0,
            last_answer: 0,
            answer_began: 0,
            last_read: 0,
            reads_all: false,
            awaits: None,
            finished: false,
            gone: false,
            announced: false,
            shed: false,
            reset: false,
            concluded: false,
        }
    }

    /// Prints what it is going to do.
    pub(super) fn tell(&self) {
        let Plan { starts, pipelines, piece, gap, stops_at, ending, .. } = &self.plan;
        println!(
            "peer {} at {starts} us: {ending:?} after {stops_at} bytes, {piece} every {gap} us, pipelines: {pipelines}",
            self.id
        );
        for (ask, marks) in self.plan.asks.iter().zip(&self.marks) {
            println!("  {marks:?} {:?}", String::from_utf8_lossy(&ask.bytes[..ask.head.min(200)]));
        }
    }

    /// Where a request begins, its body, and where it ends; behind the last, where the stream does.
    pub(super) fn marks(&self, number: usize) -> [usize; 3] {
        self.marks.get(number).copied().unwrap_or([self.stream.len(); 3])
    }

    pub(super) fn ask(&self, number: usize) -> Option<&Ask> {
        self.plan.asks.get(number)
    }

    /// Whether part of an answer has come.
    pub(super) fn is_within_answer(&self) -> bool {
        self.reader.is_within()
    }

    /// When it does something next, if nothing comes before.
    pub(super) fn next(&self, net: &Net, rules: &Rules) -> Option<u64> {
        if self.concluded {
            return None;
        }
        let Some(link) = self.link else { return rules.drain_began.is_none().then_some(self.plan.starts) };
        let due = self.due(net, rules).map(|(due, _)| due + LATE + 1);
        let reads = net.is_readable(link).then(|| match self.plan.reading {
            Reading::Promptly => Some(net.now),
            Reading::Slowly(..) => Some(self.next_read),
            Reading::Never => net.at(link).ended,
        });
        due.into_iter().chain(reads.flatten()).chain(self.next_step()).min()
    }

    /// When it sends or ends next.
    fn next_step(&self) -> Option<u64> {
        if self.finished || self.gone {
            return None;
        }
        if self.written < self.plan.stops_at {
            let [_, body, _] = self.marks(self.sent.len());
            return match self.awaits {
                _ if !self.may_begin() => None,
                Some((_, count, since)) if self.written == body && self.reader.continues == count => {
                    Some(since + PATIENCE)
                }
                _ => Some(self.next_write),
            };
        }
        match self.plan.ending {
            Ending::Stalls => None,
            Ending::Closes if self.answered < self.sent.len() && !self.announced => None,
            _ => Some(self.last_write),
        }
    }

    /// Whether the next byte may be sent: a client that does not pipeline waits for the answer before.
    fn may_begin(&self) -> bool {
        self.plan.pipelines || self.sent.len() <= self.answered
    }

    pub(super) fn act(&mut self, net: &mut Net, rules: &Rules) -> Result<(), String> {
        if self.concluded {
            return Ok(());
        }
        let Some(link) = self.link else {
            if self.plan.starts <= net.now && rules.drain_began.is_none() {
                self.link = Some(net.connect(self.plan.room_to_server, self.plan.room_to_peer));
                self.next_write = net.now;
                (self.last_write, self.last_answer, self.last_read) = (net.now, net.now, net.now);
            }
            return Ok(());
        };
        self.read(link, net, rules)?;
        if self.concluded {
            return Ok(());
        }
        self.step(link, net, rules)?;
        match self.due(net, rules) {
            Some((due, what)) if due + LATE < net.now => {
                Err(format!("{what} should have ended by {due} us, and it is {}", net.now))
            }
            _ => Ok(()),
        }
    }

    /// Reads what there is, and concludes when there is no more.
    pub(super) fn read(&mut self, link: Link, net: &mut Net, rules: &Rules) -> Result<(), String> {
        const ALL: usize = 1 << 20;
        if self.gone {
            return Ok(());
        }
        let (most, pause) = match self.plan.reading {
            _ if self.reads_all => (ALL, 0),
            Reading::Slowly(_, _) if net.now < self.next_read => return Ok(()),
            Reading::Slowly(most, pause) => (most, pause),
            Reading::Never if net.at(link).ended.is_none() => return Ok(()),
            Reading::Promptly | Reading::Never => (ALL, 0),
        };
        while net.is_readable(link) {
            self.next_read = net.now + pause;
            match net.peer_reads(link, most) {
                Heard::Bytes(bytes) => {
                    if !self.is_within_answer() {
                        self.answer_began = net.now;
                    }
                    self.reader.take(&bytes);
                    self.take_answers(net, rules)?;
                }
                Heard::Nothing => break,
                found => {
                    self.reset = found != Heard::End;
                    // A reset says that what came before it is not the whole.
                    if !self.reset
                        && let Some(reply) = self.reader.at_end()
                    {
                        self.answer(&reply, net, rules)?;
                    }
                    self.concluded = true;
                    return self.judge(net, rules);
                }
            }
            if net.at(link).ended.is_none() {
                self.last_read = net.now;
            }
            if pause > 0 {
                break;
            }
        }
        Ok(())
    }

    fn take_answers(&mut self, net: &Net, rules: &Rules) -> Result<(), String> {
        loop {
            // Of a method that was not sent to its end, nobody knows what it is.
            let [start, ..] = self.marks(self.answered);
            let is_known = self.written >= start + "HEAD ".len();
            let bodiless = is_known && self.ask(self.answered).is_some_and(|ask| ask.is_head);
            let Some(reply) = self.reader.next(bodiless)? else { return Ok(()) };
            self.answer(&reply, net, rules)?;
        }
    }

    /// Holds an answer against the request that it must be for.
    fn answer(&mut self, reply: &Reply, net: &Net, rules: &Rules) -> Result<(), String> {
        let number = self.answered;
        if self.announced {
            return Err(format!("answer {number} comes behind one that said it was the last: {reply:?}"));
        }
        let [start, body, end] = self.marks(number);
        let is_sent = self.written >= end;
        if reply.status == 503 && number == 0 && reply.closes && rules.may_shed {
            // Said without a look at the request.
            (self.announced, self.shed) = (true, true);
            return Ok(());
        }
        let Some(ask) = self.ask(number) else {
            return Err(format!("there are {number} requests, and one answer more: {reply:?}"));
        };
        if self.written == start {
            return Err(format!("request {number} is answered before it is made: {reply:?}"));
        }
        let too_late = reply.status == 408 && !is_sent && self.has_been_slow(number, body, net, rules);
        let cut = reply.status == 400 && !is_sent && self.finished;
        let is_expected = match &ask.expects {
            Expects::Bytes(bytes) => reply.status == 200 && reply.body == *bytes,
            Expects::Status(statuses) => statuses.contains(&reply.status),
        };
        let refuses = ask.may_close && matches!(ask.expects, Expects::Status(_));
        let in_time = is_sent || ask.is_answered_early && (self.written >= body || refuses);
        if !(too_late || cut || is_expected && in_time) {
            let (status, length) = (reply.status, reply.body.len());
            return Err(format!(
                "request {number} ({:?}) is answered {status} with {length} bytes after {} of {}",
                String::from_utf8_lossy(&ask.bytes[..ask.bytes.len().min(48)]),
                self.written - start,
                end - start,
            ));
        }
        let may_close = too_late || cut || !is_sent || ask.may_close;
        let is_last = rules.most_requests.is_some_and(|most| number as u64 + 1 >= most);
        if reply.closes && !may_close && !is_last && rules.drain_began.is_none() {
            return Err(format!("the answer to request {number} says that it is the last, for no reason"));
        }
        if let Expects::Status([503]) = ask.expects
            && self.sent.get(number).is_some_and(|sent| net.now + EARLY < sent + ask.takes)
        {
            return Err(format!("the handler of request {number} was given up too early"));
        }
        self.announced = reply.closes;
        self.answered += 1;
        self.last_answer = net.now;
        Ok(())
    }

    /// Sends the next piece, or ends.
    fn step(&mut self, link: Link, net: &mut Net, rules: &Rules) -> Result<(), String> {
        while self.next_step().is_some_and(|at| at <= net.now) {
            if self.written == self.plan.stops_at {
                self.end(link, net);
                return Ok(());
            }
            let number = self.sent.len();
            if self.is_not_invited(net.at(link).accepted, net.now, rules) {
                return Err(format!("request {number} waits for 100, and nothing comes"));
            }
            let [start, body, end] = self.marks(number);
            let waits = self.ask(number).is_some_and(|ask| ask.waits_for_continue);
            let stop = if waits && self.written < body { body } else { end };
            let stop = stop.min(self.plan.stops_at).min(self.written.saturating_add(self.plan.piece));
            let taken = net.peer_writes(link, &self.stream[self.written..stop]);
            if taken > 0 {
                if self.written == start {
                    self.begun.push(net.now);
                }
                self.written += taken;
                self.last_write = net.now;
                if waits && self.written == body {
                    self.awaits = Some((number, self.reader.continues, net.now));
                }
                if self.written == end {
                    self.sent.push(net.now);
                }
            }
            self.next_write = net.now + self.plan.gap;
            if taken == 0 {
                self.next_write += 500;
            }
        }
        Ok(())
    }

    /// Whether the request whose body is held back has waited too long, with nothing in its way.
    fn is_not_invited(&self, accepted: Option<u64>, now: u64, rules: &Rules) -> bool {
        let Some((number, count, since)) = self.awaits else { return false };
        self.written == self.marks(number)[1]
            && self.reader.continues == count
            && self.answered == number
            && self.plan.reading == Reading::Promptly
            && rules.drain_began.is_none()
            && accepted.is_some_and(|accepted| self.last_answer.max(accepted) <= since)
            && since + PATIENCE <= now
    }

    fn end(&mut self, link: Link, net: &mut Net) {
        match self.plan.ending {
            Ending::Finishes => {
                net.peer_finishes(link);
                self.finished = true;
            }
            Ending::Vanishes | Ending::Closes => self.leave(link, net, false),
            Ending::Resets => self.leave(link, net, true),
            Ending::Stalls => {}
        }
    }

    fn leave(&mut self, link: Link, net: &mut Net, hard: bool) {
        net.peer_closes(link, hard);
        (self.gone, self.concluded) = (true, true);
    }
}

/// How long a client waits for 100 (Continue) before it sends its body all the same.
const PATIENCE: u64 = 400_000;
