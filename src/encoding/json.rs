//! JSON as Matrix uses it: parsed without loss, written back in canonical form.
//!
//! Room versions 1 to 5 do not enforce canonical JSON, so their events may hold integers of any size and floats, and
//! the hashes of these events cover them exactly as Python wrote them. `serde_json` keeps such numbers only with
//! its feature `arbitrary_precision`, which changes the meaning of numbers for every crate of the host's binary.

mod parse;
mod write;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub use parse::JsonError;
pub use parse::MAX_DEPTH;
pub(super) use write::{write_int, write_string};

/// The largest magnitude of an integer in strict canonical JSON (specification, appendices, "Canonical JSON").
pub const MAX_STRICT_INT: i64 = (1 << 53) - 1;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits an `i64`.
    Int(i64),
    /// Any other number, as canonical text; [`Json::number`] makes it.
    ///
    /// An integer beyond `i64` is in plain decimals. A number with a fraction or an exponent is the shortest text that
    /// reads back as the nearest double, in the form of Python's `repr` (`1.0`, `100000.0`, `1e+16`, `1e-05`, `-0.0`):
    /// the reference homeserver is written in Python, and the hashes in old rooms cover that text.
    Number(Box<str>),
    /// A string.
    String(Box<str>),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Object),
}

impl Json {
    /// The string, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one that fits an `i64`.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(*int),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Json]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The object, if this is one.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Tells whether strict canonical JSON allows this value: no floats, integers within ±(2^53 - 1).
    pub fn is_strictly_canonical(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::String(_) => true,
            Self::Int(int) => (-MAX_STRICT_INT..=MAX_STRICT_INT).contains(int),
            Self::Number(_) => false,
            Self::Array(elements) => elements.iter().all(Self::is_strictly_canonical),
            Self::Object(object) => object.is_strictly_canonical(),
        }
    }

    /// Finds the first value that strict canonical JSON forbids: its path from here as a JSON Pointer (RFC 6901),
    /// such as `/content/users/@alice:example.org`; empty if it is this value itself.
    pub fn strict_violation(&self) -> Option<String> {
        if self.is_strictly_canonical() {
            return None;
        }
        match self {
            Self::Array(elements) => elements
                .iter()
                .enumerate()
                .find_map(|(index, element)| Some(format!("/{index}{}", element.strict_violation()?))),
            Self::Object(object) => object.strict_violation(),
            _ => Some(String::new()),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

/// A JSON object: its members in ascending order of the keys' UTF-8 bytes, which is the canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    members: Vec<(Box<str>, Json)>,
}

impl Object {
    /// Makes an object without members.
    pub const fn new() -> Self {
        Self { members: Vec::new() }
    }

    /// Looks up a member by binary search.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.position(key).ok().and_then(|index| self.members.get(index)).map(|(_, value)| value)
    }

    /// Looks up a member to change it.
    #[cfg(test)]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        let index = self.position(key).ok()?;
        self.members.get_mut(index).map(|(_, value)| value)
    }

    /// The member's string; `None` if it is absent or no string.
    pub fn get_str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// The member's integer; `None` if it is absent or no integer that fits an `i64`.
    pub fn get_int(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// The member's object; `None` if it is absent or no object.
    pub fn get_object(&self, key: &str) -> Option<&Object> {
        self.get(key)?.as_object()
    }

    /// The member's elements; `None` if it is absent or no array.
    pub fn get_array(&self, key: &str) -> Option<&[Json]> {
        self.get(key)?.as_array()
    }

    /// The members in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Json)> + DoubleEndedIterator {
        self.members.iter().map(|(key, value)| (&**key, value))
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells whether there are none.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Sets a member and returns the value that it had.
    pub fn insert(&mut self, key: impl Into<Box<str>>, value: Json) -> Option<Json> {
        let key = key.into();
        match self.position(&key) {
            Ok(index) => self.members.get_mut(index).map(|member| std::mem::replace(&mut member.1, value)),
            Err(index) => {
                self.members.insert(index, (key, value));
                None
            }
        }
    }

    /// Removes a member and returns the value that it had.
    pub fn remove(&mut self, key: &str) -> Option<Json> {
        let index = self.position(key).ok()?;
        Some(self.members.remove(index).1)
    }

    /// Keeps the members for which `keep` says so; it may change their values.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &mut Json) -> bool) {
        self.members.retain_mut(|(key, value)| keep(key, value));
    }

    /// Tells whether strict canonical JSON allows every member.
    pub fn is_strictly_canonical(&self) -> bool {
        self.members.iter().all(|(_, value)| value.is_strictly_canonical())
    }

    /// Finds the first value that strict canonical JSON forbids, see [`Json::strict_violation`].
    pub fn strict_violation(&self) -> Option<String> {
        self.iter().find_map(|(key, value)| {
            let path = value.strict_violation()?;
            Some(format!("/{}{path}", key.replace('~', "~0").replace('/', "~1")))
        })
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.members.binary_search_by(|(other, _)| (**other).cmp(key))
    }
}

/// Members in any order; of two with the same key the last wins.
impl From<Vec<(Box<str>, Json)>> for Object {
    fn from(mut members: Vec<(Box<str>, Json)>) -> Self {
        if !members.is_sorted_by(|(left, _), (right, _)| left < right) {
            // Stable, so that members with the same key keep their order and the last can win.
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            members.dedup_by(|later, earlier| {
                let same = later.0 == earlier.0;
                if same {
                    std::mem::swap(later, earlier);
                }
                same
            });
        }
        Self { members }
    }
}

impl FromIterator<(Box<str>, Json)> for Object {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Json)>>(members: I) -> Self {
        Vec::from_iter(members).into()
    }
}
