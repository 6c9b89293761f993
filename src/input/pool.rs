//! The pool of writers, and the doors into it.

mod event;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex, RwLock};
use rustc_hash::FxHashMap;

use self::event::{heap_bytes, named_version, read, room_of};
use super::{
    completion::{self, Done, Durability},
    lane::{Job, Lane, QueuedEvent},
    sealer::Sealer,
    ticket::{Ticket, ticket},
    work::Turn,
};
use crate::{
    encoding::json::Json,
    error::{Error, ErrorKind, Result},
    ids::RoomNid,
    room::{
        drive::{Driving, Step},
        engine::Engine,
        outcome::{Input, Outcome},
        writer::{Landed, RoomWriter},
    },
};

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory that inputs which wait in one room may take.
    pub room_bytes: usize,
    /// Bytes of memory that inputs which wait in all rooms together may take.
    pub total_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { room_bytes: 16 << 20, total_bytes: 128 << 20 }
    }
}

/// Inputs that were taken and whose outcome has not been told yet. Both are 0 when nothing is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backpressure {
    /// How many there are.
    pub inputs: usize,
    /// The bytes of memory that they take.
    pub bytes: usize,
}

/// Counts inputs from the moment they are queued until their outcome is told, whatever it is.
#[derive(Default)]
pub(super) struct Gauge {
    count: Mutex<Backpressure>,
    idle: Condvar,
}

impl Gauge {
    /// Counts an input, if that leaves no more than `limit` bytes.
    fn rise(&self, bytes: usize, limit: usize) -> Result<()> {
        let mut count = self.count.lock();
        let after = count.bytes.saturating_add(bytes);
        if after > limit && count.inputs > 0 {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("the queues hold {} bytes, all that they may", count.bytes),
            ));
        }
        *count = Backpressure { inputs: count.inputs.saturating_add(1), bytes: after };
        metrics::gauge!("roomserver_input_backpressure").increment(1.0);
        Ok(())
    }

    pub(super) fn fall(&self, bytes: usize) {
        let mut count = self.count.lock();
        let inputs = count.inputs.saturating_sub(1);
        *count = Backpressure { inputs, bytes: count.bytes.saturating_sub(bytes) };
        metrics::gauge!("roomserver_input_backpressure").decrement(1.0);
        if inputs == 0 {
            self.idle.notify_all();
        }
    }
}

/// Jobs that a thread takes from one room before it turns to the next: a long queue delays no other room.
const TURN: usize = 64;
/// Rooms without inputs whose writers are kept in memory.
const IDLE_LANES_MAX: usize = 256;

enum Ready {
    Lane(Arc<Lane>),
    Stop,
}

/// All queues and their writers.
pub struct Inputs {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    sealer: Sealer,
}

pub(super) struct Shared {
    pub(super) engine: Arc<Engine>,
    limits: Limits,
    gauge: Arc<Gauge>,
    lanes: Mutex<Lanes>,
    ready: Sender<Ready>,
    /// Held for reading while an input is queued, so that none is queued after the writers have gone.
    pub(super) closed: RwLock<bool>,
    writers: usize,
}

#[derive(Default)]
struct Lanes {
    by_room: FxHashMap<Box<str>, Arc<Lane>>,
    /// Rooms that ran out of inputs, the longest idle first; some may have got new ones since.
    idle: VecDeque<Box<str>>,
}

impl Inputs {
    /// Starts `writers` writers.
    pub fn start(engine: Arc<Engine>, writers: usize, limits: Limits, durability: Durability) -> Result<Self> {
        let (ready, lanes) = unbounded();
        let gauge = Arc::new(Gauge::default());
        let shared = Arc::new(Shared {
            engine,
            limits,
            gauge: gauge.clone(),
            lanes: Mutex::default(),
            ready,
            closed: RwLock::new(false),
            writers: writers.max(1),
        });
        let (done, outcomes) = completion::channel();
        let mut threads = Vec::new();
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(run);
            thread.map_err(|error| Error::unavailable("no thread can be started").with_source(error))
        };
        let engine = shared.engine.clone();
        threads
            .push(spawn("roomserver-sync", Box::new(move || completion::run(&engine, durability, &outcomes, &gauge)))?);
        for _ in 0..shared.writers {
            let (shared, lanes, done) = (shared.clone(), lanes.clone(), done.clone());
            threads.push(spawn("roomserver-writer", Box::new(move || shared.write(&lanes, &done)))?);
        }
        let sealer = Sealer::start(shared.engine.clone())?;
        Ok(Self { shared, threads: Mutex::new(threads), sealer })
    }

    /// Queues an input for its room.
    ///
    /// # Errors
    ///
    /// `Busy` if the room's queue or all of them together are full; `Invalid` if the PDU is not JSON, too large or names no
    /// room; `Unavailable` after `close`, and for a room in quarantine. Nothing is queued then.
    pub fn submit(&self, mut input: Input) -> Result<Ticket> {
        let closed = self.shared.closed.read();
        if *closed {
            return Err(Error::unavailable("the store is closed"));
        }
        let json = read(&std::mem::take(&mut input.pdu))?;
        let room_id = room_of(&json)?;
        let bytes = input.bytes().saturating_add(heap_bytes(&json));
        let (ticket, promise) = ticket();
        let lane = self.shared.lane(&room_id);
        let mut queue = lane.queue.lock();
        if let Some(reason) = &queue.quarantine {
            return Err(Error::unavailable(format!("room {room_id} is in quarantine: {reason}")));
        }
        if queue.bytes.saturating_add(bytes) > self.shared.limits.room_bytes && queue.bytes > 0 {
            return Err(Error::new(ErrorKind::Busy, format!("the queue of room {room_id} is full")));
        }
        self.shared.gauge.rise(bytes, self.shared.limits.total_bytes)?;
        queue.bytes = queue.bytes.saturating_add(bytes);
        queue.jobs.push_back(Job::Event(Box::new(QueuedEvent { input, json, promise, bytes })));
        self.shared.schedule(&lane, &mut queue);
        Ok(ticket)
    }

    /// Looks again at what was left parked in a room when the store was closed.
    pub fn recover(&self, room_id: &str) {
        let closed = self.shared.closed.read();
        if *closed {
            return;
        }
        let lane = self.shared.lane(room_id);
        let mut queue = lane.queue.lock();
        queue.jobs.push_back(Job::Recover);
        self.shared.schedule(&lane, &mut queue);
    }

    /// What is under way.
    pub fn backpressure(&self) -> Backpressure {
        *self.shared.gauge.count.lock()
    }

    /// Builds the lists of a room that were due and not there when the store was closed.
    pub fn seal(&self, room: RoomNid) {
        self.shared.engine.sealing.add(room);
    }

    /// Blocks until nothing is under way, every writer is at rest, and no list is due.
    pub fn settle(&self) {
        let mut count = self.shared.gauge.count.lock();
        while count.inputs > 0 {
            self.shared.gauge.idle.wait(&mut count);
        }
        drop(count);
        let lanes: Vec<Arc<Lane>> = self.shared.lanes.lock().by_room.values().cloned().collect();
        for lane in lanes {
            // What an input re-drove belongs to it: its lane is free only when that is done.
            while lane.queue.lock().scheduled {
                drop(lane.writer.lock());
                std::thread::yield_now();
            }
        }
        self.shared.engine.sealing.settle();
    }

    /// The rooms in quarantine, with the reasons.
    pub fn quarantined(&self) -> Vec<(String, String)> {
        let lanes: Vec<Arc<Lane>> = self.shared.lanes.lock().by_room.values().cloned().collect();
        let mut rooms: Vec<(String, String)> = lanes
            .iter()
            .filter_map(|lane| Some((lane.room_id.to_string(), lane.queue.lock().quarantine.clone()?)))
            .collect();
        rooms.sort_unstable();
        rooms
    }

    /// Takes no more inputs, answers those that wait with `Unavailable`, and ends all threads.
    pub fn close(&self) {
        *self.shared.closed.write() = true;
        let mut threads = self.threads.lock();
        for _ in 0..self.shared.writers {
            // A send fails only when all writers are gone.
            let _gone = self.shared.ready.send(Ready::Stop);
        }
        for thread in threads.drain(..).rev() {
            if thread.join().is_err() {
                tracing::error!("a thread of the pool panicked");
            }
        }
        self.sealer.close();
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    pub(super) fn lane(&self, room_id: &str) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.by_room.get(room_id) {
            return lane.clone();
        }
        let lane = Arc::new(Lane::new(room_id));
        lanes.by_room.insert(room_id.into(), lane.clone());
        lane
    }

    pub(super) fn schedule(&self, lane: &Arc<Lane>, queue: &mut super::lane::Queue) {
        if !queue.scheduled {
            queue.scheduled = true;
            let _gone = self.ready.send(Ready::Lane(lane.clone()));
        }
    }

    /// Drains lanes until told to stop; what is left then is answered, not processed.
    fn write(&self, lanes: &Receiver<Ready>, done: &Sender<Done>) {
        while let Ok(ready) = lanes.recv() {
            match ready {
                Ready::Lane(lane) => self.turn(&lane, done),
                Ready::Stop => break,
            }
        }
        for ready in lanes.try_iter() {
            match ready {
                Ready::Lane(lane) => self.turn(&lane, done),
                // Another writer's sign: it must find it.
                Ready::Stop => {
                    let _gone = self.ready.send(Ready::Stop);
                    break;
                }
            }
        }
    }

    fn turn(&self, lane: &Arc<Lane>, done: &Sender<Done>) {
        let mut writer = lane.writer.lock();
        for _ in 0..TURN {
            let job = {
                let mut queue = lane.queue.lock();
                let Some(job) = queue.jobs.pop_front() else {
                    queue.scheduled = false;
                    break;
                };
                if let Job::Event(event) = &job {
                    queue.bytes = queue.bytes.saturating_sub(event.bytes);
                }
                job
            };
            self.run(lane, &mut writer, job, done);
        }
        drop(writer);
        let mut queue = lane.queue.lock();
        if queue.scheduled {
            let _gone = self.ready.send(Ready::Lane(lane.clone()));
        } else if queue.quarantine.is_none() {
            queue.scheduled = false;
            drop(queue);
            self.idle(lane);
        }
    }

    /// Notes that a lane has no inputs, and forgets the lanes that have had none for longest.
    fn idle(&self, lane: &Arc<Lane>) {
        let mut lanes = self.lanes.lock();
        lanes.idle.push_back(lane.room_id.clone());
        while lanes.idle.len() > IDLE_LANES_MAX {
            let Some(room_id) = lanes.idle.pop_front() else { break };
            let again = lanes.idle.contains(&room_id);
            let Some(lane) = lanes.by_room.get(&room_id) else { continue };
            // Nobody else can get hold of the lane while the map is locked; who has it already keeps it.
            if !again && Arc::strong_count(lane) == 1 {
                lanes.by_room.remove(&room_id);
            }
        }
    }

    fn run(&self, lane: &Lane, writer: &mut Option<RoomWriter>, job: Job, done: &Sender<Done>) {
        let event = match job {
            Job::Event(event) => *event,
            Job::Recover => {
                let mut driving = Driving::default();
                driving.everything();
                self.drive(lane, writer, driving);
                return;
            }
            Job::Landed(key) => {
                let mut driving = Driving::default();
                driving.landed(key);
                self.drive(lane, writer, driving);
                return;
            }
            Job::Work(work) => {
                Self::guard(lane, writer, |writer| work(Turn { shared: self, lane, writer, done }));
                return;
            }
        };
        let QueuedEvent { input, json, promise, bytes } = event;
        if let Err(refused) = self.refuse(lane) {
            let _gone = done.send(Done { promise, result: Err(refused), sequence: 0, bytes });
            return;
        }
        let mut answer: (Result<Outcome>, u64) = (Err(Error::internal("the writer panicked")), 0);
        let mut landed = None;
        Self::guard(lane, writer, |writer| {
            let processed =
                self.open(lane, writer, Some((&input, &json))).and_then(|writer| writer.process(&input, json));
            match processed {
                Ok(processed) => {
                    landed = processed.landed;
                    answer = (Ok(processed.outcome), processed.sequence);
                    Ok(())
                }
                Err(error) => {
                    let result = Err(error.duplicate());
                    answer = (result, 0);
                    Err(error)
                }
            }
        });
        let (result, sequence) = answer;
        let _gone = done.send(Done { promise, result, sequence, bytes });
        if let Some(landed) = landed {
            let mut driving = Driving::default();
            self.landed(landed, &mut driving);
            self.drive(lane, writer, driving);
        }
    }

    fn landed(&self, landed: Landed, driving: &mut Driving) {
        driving.landed(landed.key);
        for room in landed.elsewhere {
            let lane = self.lane(&room);
            let mut queue = lane.queue.lock();
            queue.jobs.push_back(Job::Landed(landed.key));
            self.schedule(&lane, &mut queue);
        }
    }

    fn drive(&self, lane: &Lane, writer: &mut Option<RoomWriter>, mut driving: Driving) {
        while !driving.is_empty() {
            let mut step = Step::default();
            Self::guard(lane, writer, |writer| {
                step = self.open(lane, writer, None)?.drive(&mut driving)?;
                Ok(())
            });
            if let Some(landed) = step.landed {
                self.landed(landed, &mut driving);
            }
        }
    }

    /// An `Unavailable` error if the room is in quarantine or the store is closed.
    pub(super) fn refuse(&self, lane: &Lane) -> Result<()> {
        let quarantine = lane.queue.lock().quarantine.clone();
        match quarantine {
            Some(reason) => Err(Error::unavailable(format!("room {} is in quarantine: {reason}", lane.room_id))),
            None if *self.closed.read() => Err(Error::unavailable("the store is closed")),
            None => Ok(()),
        }
    }

    /// Runs a step of a room's writer. A panic puts the room into quarantine; after an error the writer is made anew
    /// where it may be ahead of what is stored.
    fn guard(lane: &Lane, writer: &mut Option<RoomWriter>, step: impl FnOnce(&mut Option<RoomWriter>) -> Result<()>) {
        match catch_unwind(AssertUnwindSafe(|| step(writer))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                // Whoever submitted the input hears of it: only faults of this side are logged.
                if !matches!(error.kind(), ErrorKind::Invalid | ErrorKind::NotFound) {
                    tracing::warn!(room = %lane.room_id, %error, "an input failed");
                }
                *writer = writer.take().filter(|writer| error.kind() == ErrorKind::Invalid && writer.is_registered());
            }
            Err(panic) => {
                *writer = None;
                let what = panic.downcast_ref::<&str>().map(|what| (*what).to_owned());
                let what = what.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                tracing::error!(room = %lane.room_id, what, "a writer panicked; its room is in quarantine");
                lane.queue.lock().quarantine = Some(format!("its writer panicked: {what}"));
            }
        }
    }

    /// The room's writer: the one at hand, one for the room as it is stored, or one for a room that begins.
    pub(super) fn open<'w>(
        &self,
        lane: &Lane,
        writer: &'w mut Option<RoomWriter>,
        first: Option<(&Input, &Json)>,
    ) -> Result<&'w mut RoomWriter> {
        let room = match writer.as_ref() {
            Some(_) => None,
            None => self.engine.room(&lane.room_id)?,
        };
        let known = writer.as_ref().map(RoomWriter::room).or(room.as_ref()).map(|room| &room.version);
        let named = match first {
            Some((input, json)) => named_version(json, known.or(input.room_version.as_ref()))?,
            None => None,
        };
        if writer.is_none() {
            let opened = match room {
                Some(room) => RoomWriter::open(self.engine.clone(), room)?,
                None => {
                    let told = named.clone().or_else(|| first.and_then(|(input, _)| input.room_version.clone()));
                    let told = told.ok_or_else(|| {
                        Error::not_found(format!(
                            "room {} is not known: its create event has not come, and its version was not told",
                            lane.room_id
                        ))
                    })?;
                    RoomWriter::begin(self.engine.clone(), self.engine.new_room(&lane.room_id, &told)?)
                }
            };
            *writer = Some(opened);
        }
        let writer = writer.as_mut().ok_or_else(|| Error::internal("a writer that is not there"))?;
        match named {
            Some(version) if version != writer.room().version => Err(Error::invalid(format!(
                "the create event names room version {version}, room {} is of version {}",
                lane.room_id,
                writer.room().version
            ))),
            _ => Ok(writer),
        }
    }
}
