//! Real rooms for the tests: read from the fixtures, and from the shared data when it is beside the checkout.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::read::MultiGzDecoder;
use roomserver::{
    Durability, Error, Fingerprint, Input, Kind, Options, Outcome, RoomServer,
    kv::{Direction, Read, Store, TableId, memory::MemoryStore},
    tables::TABLES,
};
use serde_json::Value;

/// The answers of a real homeserver for one room as one server saw it.
pub struct View {
    pub name: String,
    /// The inputs, in the order in which the server first received the events.
    pub inputs: Vec<ViewInput>,
    /// What the homeserver decided about each event of its graph.
    pub told: Vec<Told>,
    pub current_state: Fingerprint,
    pub extremities: Vec<String>,
}

/// A line of import.
#[derive(Clone)]
pub struct ViewInput {
    pub event_id: String,
    pub room_version: String,
    pub kind: Kind,
    pub pdu: Vec<u8>,
    pub state: Option<Vec<String>>,
}

/// What the homeserver decided about an event.
pub struct Told {
    pub event_id: String,
    /// `accepted`, `soft_failed` or `rejected`; `None` where it says nothing comparable.
    pub verdict: Option<&'static str>,
    pub before: Option<Fingerprint>,
    pub after: Option<Fingerprint>,
}

type States = BTreeMap<String, (Fingerprint, BTreeMap<(String, String), String>)>;

/// The one event that the exporting server sent itself, where soft failure does not apply.
const LOCAL: &str = "$-BeBLQ0oPshiQRPJyRTDYQmAeX7-jv0RTSI0RAgwZ_w";

/// The folder with all views, if it is there.
pub fn shared_data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    folder.join("README.md").is_file().then_some(folder)
}

/// The views that come with the checkout, and all those of the shared data when it is there.
pub fn views() -> Vec<View> {
    let mut stems: Vec<PathBuf> = Vec::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/views");
    for folder in [Some(fixtures), shared_data()].into_iter().flatten() {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".oracle.jsonl.gz")
                && !stems.iter().any(|known| known.ends_with(stem))
            {
                stems.push(path.with_file_name(stem));
            }
        }
    }
    stems.sort();
    stems.iter().map(|stem| View::load(stem)).collect()
}

/// The view whose name begins so.
pub fn view(name: &str) -> View {
    views().into_iter().find(|view| view.name.starts_with(name)).expect("the view is there")
}

fn lines(stem: &Path, what: &str) -> Vec<Value> {
    let path = PathBuf::from(format!("{}.{what}.jsonl.gz", stem.display()));
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    lines.map(|line| serde_json::from_str(&line.expect("readable")).expect("JSON")).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

fn load_states(stem: &Path) -> States {
    let mut states = States::new();
    for row in lines(stem, "states") {
        let (mut print, mut map) = match row["base"].as_str() {
            Some(base) => states[base].clone(),
            None => Default::default(),
        };
        for gone in row["del"].as_array().into_iter().flatten() {
            let key = (text(&gone[0]), text(&gone[1]));
            let event = map.remove(&key).expect("the key is there");
            print = print.without(Fingerprint::of_entry(&key.0, &key.1, &event));
        }
        for set in row["map"].as_array().or(row["set"].as_array()).into_iter().flatten() {
            let (key, event) = ((text(&set[0]), text(&set[1])), text(&set[2]));
            if let Some(before) = map.insert(key.clone(), event.clone()) {
                print = print.without(Fingerprint::of_entry(&key.0, &key.1, &before));
            }
            print = print.with(Fingerprint::of_entry(&key.0, &key.1, &event));
        }
        states.insert(text(&row["state"]), (print, map));
    }
    states
}

impl View {
    /// Reads a view: the inputs as another server would have sent them, and the answers.
    pub fn load(stem: &Path) -> Self {
        let states = load_states(stem);
        let events = lines(stem, "events");
        let by_id: BTreeMap<String, &Value> = events.iter().map(|row| (text(&row["event_id"]), row)).collect();
        let mut oracle = lines(stem, "oracle");
        let last = oracle.pop().expect("the last line tells the current state");
        let before_of: BTreeMap<String, String> = oracle
            .iter()
            .filter_map(|row| Some((text(&row["event_id"]), row["before"].as_str()?.to_owned())))
            .collect();
        let verdict = |event_id: &str| {
            let row = by_id.get(event_id).filter(|_| event_id != LOCAL)?;
            Some(match (row["rejected"].is_null(), row["soft_failed"] == true) {
                (false, _) => "rejected",
                (true, true) => "soft_failed",
                (true, false) => "accepted",
            })
        };
        let print = |name: &Value| name.as_str().map(|name| states[name].0);
        let told = oracle
            .iter()
            .map(|row| {
                let event_id = text(&row["event_id"]);
                let (before, after) = (print(&row["before"]), print(&row["after"]));
                Told { verdict: verdict(&event_id), event_id, before, after }
            })
            .collect();
        Self {
            name: stem.file_name().expect("a name").to_string_lossy().into_owned(),
            inputs: inputs(&events, &by_id, &before_of, &states),
            told,
            current_state: states[last["current_state"].as_str().expect("a name")].0,
            extremities: last["forward_extremities"].as_array().expect("a list").iter().map(text).collect(),
        }
    }
}

/// The events as inputs; one that was an outlier at first comes twice.
fn inputs(
    events: &[Value],
    by_id: &BTreeMap<String, &Value>,
    before_of: &BTreeMap<String, String>,
    states: &States,
) -> Vec<ViewInput> {
    let mut inputs = Vec::new();
    let mut late: Vec<(i64, ViewInput)> = Vec::new();
    for row in events {
        let event_id = text(&row["event_id"]);
        let kind = if row["outlier"] == true { Kind::Outlier } else { Kind::New };
        let prevs = row["pdu"]["prev_events"].as_array().expect("a list");
        let mut prevs = prevs.iter().map(|prev| prev.as_str().map_or_else(|| text(&prev[0]), str::to_owned));
        let gap = prevs.any(|prev| by_id.get(&prev).is_none_or(|row| row["outlier"] == true));
        let state = before_of.get(&event_id).filter(|_| kind == Kind::New && gap);
        let input = ViewInput {
            event_id,
            room_version: text(&row["room_version"]),
            kind,
            pdu: serde_json::to_vec(&row["pdu"]).expect("JSON"),
            state: state.map(|before| states[before].1.values().cloned().collect()),
        };
        let stream = row["stream_ordering"].as_i64().expect("a number");
        match row["ex_outlier_at"].as_i64() {
            Some(at) if kind == Kind::New => {
                inputs.push(ViewInput { kind: Kind::Outlier, state: None, ..input.clone() });
                late.push((at, input));
                late.sort_by_key(|(at, _)| *at);
            }
            _ => {
                while stream > 0 && late.first().is_some_and(|(at, _)| *at < stream) {
                    inputs.push(late.remove(0).1);
                }
                inputs.push(input);
            }
        }
    }
    inputs.extend(late.into_iter().map(|(_, input)| input));
    inputs
}

impl ViewInput {
    pub fn to_input(&self) -> Input {
        let mut input = Input::new(self.pdu.clone());
        input.kind = self.kind;
        input.event_id = Some(self.event_id.clone());
        input.room_version = Some(self.room_version.as_str().try_into().expect("a room version"));
        let parse = |id: &String| id.as_str().try_into().expect("an event ID");
        input.state = self.state.as_ref().map(|state| state.iter().map(parse).collect());
        input
    }
}

/// An engine on a store in memory.
pub fn server() -> (RoomServer, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::open(&roomserver::tables::specs()));
    (open(store.clone()), store)
}

pub fn open(store: Arc<dyn Store>) -> RoomServer {
    let options = &mut Options::default();
    options.durability = Durability::Buffered;
    RoomServer::open_on(store, options).expect("opens")
}

/// Feeds inputs one after the other.
pub fn feed<'a>(server: &RoomServer, inputs: impl IntoIterator<Item = &'a ViewInput>) -> Vec<Result<Outcome, Error>> {
    let mut outcomes = Vec::new();
    for input in inputs {
        outcomes.push(server.submit(input.to_input()).and_then(roomserver::Ticket::wait));
    }
    server.settle().expect("settles");
    outcomes
}

/// The verdict of an event as a word.
pub fn verdict_word(verdict: &roomserver::Verdict) -> &'static str {
    match verdict {
        roomserver::Verdict::Accepted => "accepted",
        roomserver::Verdict::SoftFailed(_) => "soft_failed",
        roomserver::Verdict::Rejected(_) => "rejected",
        _ => "unknown",
    }
}

/// The ID of the newest room.
pub fn room_id(server: &RoomServer) -> String {
    server.view().rooms().expect("readable").pop().expect("a room").id().to_owned()
}

/// Tells whether `verify` finds nothing; prints what it finds.
pub fn is_whole(server: &RoomServer) -> bool {
    server.verify(&mut |problem| println!("{problem}")).expect("readable").problems == 0
}

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// The rows of a table.
pub fn rows(read: &dyn Read, table: TableId) -> Vec<Row> {
    let mut rows = Vec::new();
    let scan = read.scan(table, &[], &[], Direction::Forward, &mut |key, value| {
        rows.push((key.to_vec(), value.to_vec()));
        Ok(true)
    });
    scan.expect("readable");
    rows
}

/// The rows of all tables.
pub fn all_rows(read: &dyn Read) -> Vec<(TableId, Vec<Row>)> {
    (0..).map(TableId).zip(TABLES).map(|(id, _)| (id, rows(read, id))).collect()
}

/// What is known of an event of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub position: u32,
    pub verdict: &'static str,
    pub collected: bool,
    pub before: Option<Fingerprint>,
    pub after: Option<Fingerprint>,
}

/// What is known of the events of a room's graph, by ID.
pub fn history(server: &RoomServer, room: &str) -> BTreeMap<String, Known> {
    let mut known = BTreeMap::new();
    let view = server.view();
    let room = view.room(room).expect("readable").expect("it is here");
    room.history(&mut |entry| {
        let event = &entry.event;
        let (position, verdict) = (event.position.number(), verdict_word(&event.verdict));
        let (before, after, collected) = (entry.state_before, entry.state_after, event.collected);
        known.insert(event.event_id.to_string(), Known { position, verdict, collected, before, after });
        Ok(true)
    })
    .expect("readable");
    // The states are also read in full, and by key.
    for event_id in known.keys() {
        let event = room.event(event_id).expect("readable").expect("it is here");
        let Some(state) = event.state_after else { continue };
        let state = room.state(state).expect("it is not collected");
        let entries = state.entries().expect("readable");
        let sum = entries.iter().fold(Fingerprint::default(), |sum, entry| {
            sum.with(Fingerprint::of_entry(&entry.event_type, &entry.state_key, entry.event_id.as_str()))
        });
        assert_eq!(Some(sum), known[event_id].after);
        if let Some(entry) = entries.last() {
            assert_eq!(state.get(&entry.event_type, &entry.state_key).expect("readable"), Some(entry.event_id.clone()));
        }
    }
    known
}

/// Checks that what is retained is as it was, and that what was collected has its verdict and place, and no state.
pub fn assert_retained(before: &BTreeMap<String, Known>, after: &BTreeMap<String, Known>) {
    assert_eq!(before.len(), after.len());
    for (event_id, was) in before {
        let is = &after[event_id];
        if is.collected {
            assert_eq!((is.position, is.verdict, is.before, is.after), (was.position, was.verdict, None, None));
        } else {
            assert_eq!(is, was, "{event_id}");
        }
    }
}
