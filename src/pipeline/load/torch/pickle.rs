//! A machine for pickles that builds data and runs nothing: a class is a name, a call is its name
//! with its arguments. Opcodes are allowed by list. Source: `pickletools` of Python 3.13.
//!
//! Whatever is built lies in one list and is referred to by its place there, so that a pickle can
//! neither make copies of copies nor nest values until dropping them overruns the stack.

use std::collections::BTreeMap;

/// Steps of one pickle: a checkpoint takes some thirty for each tensor.
const STEP_LIMIT: usize = 1 << 23;
/// A name of a module or class is a line of this length at most.
const LINE_LIMIT: usize = 1024;

/// Where in a pickle something is wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PickleError {
    pub(super) at: usize,
    pub(super) reason: String,
}

/// The place of an object in its [`Heap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ref(usize);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    /// Bytes, and whole numbers of more than 64 bits as their little-endian bytes.
    Bytes(&'a [u8]),
    Object(Ref),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Object<'a> {
    /// A class or function, never looked up.
    Global {
        module: &'a str,
        name: &'a str,
    },
    Tuple(Vec<Value<'a>>),
    List(Vec<Value<'a>>),
    Dict(Vec<(Value<'a>, Value<'a>)>),
    /// What `callable(*arguments)` would have made.
    Call {
        callable: Value<'a>,
        arguments: Value<'a>,
        state: Value<'a>,
        items: Vec<(Value<'a>, Value<'a>)>,
    },
    /// Something kept outside the pickle.
    Persistent(Value<'a>),
}

/// Everything that a pickle has built.
#[derive(Debug, Default)]
pub(super) struct Heap<'a>(Vec<Object<'a>>);

impl<'a> Heap<'a> {
    /// The object behind a value, if it is one.
    pub(super) fn object(&self, value: Value<'a>) -> Option<&Object<'a>> {
        if let Value::Object(Ref(place)) = value { self.0.get(place) } else { None }
    }

    /// Everything that was built, in the order in which it was.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Object<'a>> {
        self.0.iter()
    }

    /// The elements of a tuple or list.
    pub(super) fn elements(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match self.object(value)? {
            Object::Tuple(all) | Object::List(all) => Some(all),
            _ => None,
        }
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, value: Value<'a>) -> Option<(&'a str, &'a str)> {
        if let Object::Global { module, name } = self.object(value)? { Some((module, name)) } else { None }
    }

    fn add(&mut self, object: Object<'a>) -> Value<'a> {
        self.0.push(object);
        Value::Object(Ref(self.0.len() - 1))
    }
}

/// What one pickle held.
pub(super) struct Unpickled<'a> {
    pub(super) value: Value<'a>,
    pub(super) heap: Heap<'a>,
    /// Bytes that it took.
    pub(super) len: usize,
}

/// Reads the pickle that `bytes` starts with.
///
/// # Errors
/// When it ends early, is not well formed, or uses an opcode that is not on the list.
pub(super) fn read(bytes: &[u8]) -> Result<Unpickled<'_>, PickleError> {
    let mut machine =
        Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new(), heap: Heap::default() };
    for _ in 0..STEP_LIMIT {
        let start = machine.at;
        let fail = |reason: String| PickleError { at: start, reason };
        let opcode = machine.byte().map_err(fail)?;
        if opcode == b'.' {
            let value = machine.pop().map_err(fail)?;
            return Ok(Unpickled { value, heap: machine.heap, len: machine.at });
        }
        machine.step(opcode).map_err(fail)?;
    }
    Err(PickleError { at: machine.at, reason: format!("it takes more than {STEP_LIMIT} steps") })
}

type Step<T> = Result<T, String>;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Value<'a>>,
    heap: Heap<'a>,
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            0x80 => drop(self.byte()?),
            // A frame tells how much follows: of use to streams alone.
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.marked()?),
            b'2' => self.stack.push(self.top()?),
            b'q' | b'r' | 0x94 => self.remember(opcode)?,
            b'h' | b'j' => self.recall(opcode)?,
            b'N' | 0x88 | 0x89 | b'J' | b'K' | b'M' | b'G' | 0x8a | 0x8b => self.number(opcode)?,
            b'U' | b'T' | b'X' | 0x8c | 0x8d | b'C' | b'B' | 0x8e => self.string(opcode)?,
            b'c' | 0x93 => self.global(opcode)?,
            b')' | 0x85 | 0x86 | 0x87 | b't' | b']' | b'l' | b'}' | b'd' | 0x8f | 0x91 => self.collection(opcode)?,
            b'a' | b'e' | 0x90 | b's' | b'u' => self.fill(opcode)?,
            b'R' | 0x81 | 0x92 | b'b' | b'Q' => self.object(opcode)?,
            other => return Err(format!("it uses opcode 0x{other:02x}, which no weight file needs")),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it ends early: {count} more bytes are needed"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Step<u8> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number without sign of up to 8 bytes.
    fn unsigned(&mut self, width: usize) -> Step<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn pop(&mut self) -> Step<Value<'a>> {
        // What lies below a mark belongs to whoever set it.
        if self.marks.last().is_some_and(|mark| self.stack.len() <= *mark) {
            return Err("a value is missing above a mark".to_owned());
        }
        self.stack.pop().ok_or_else(|| "a value is missing".to_owned())
    }

    fn top(&self) -> Step<Value<'a>> {
        self.stack.last().copied().ok_or_else(|| "a value is missing".to_owned())
    }

    /// The values above the last mark, which goes.
    fn marked(&mut self) -> Step<Vec<Value<'a>>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or("a mark is missing")?))
    }

    fn marked_pairs(&mut self) -> Step<Vec<(Value<'a>, Value<'a>)>> {
        let all = self.marked()?;
        let (pairs, rest) = all.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key has no value".to_owned());
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn remember(&mut self, opcode: u8) -> Step<()> {
        let place = match opcode {
            b'q' => u32::from(self.byte()?),
            b'r' => self.unsigned(4)? as u32,
            _ => u32::try_from(self.memo.len()).map_err(|e| e.to_string())?,
        };
        let value = self.top()?;
        self.memo.insert(place, value);
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Step<()> {
        let place = self.unsigned(if opcode == b'h' { 1 } else { 4 })? as u32;
        let value = self.memo.get(&place).ok_or_else(|| format!("it recalls value {place}, which it never stored"))?;
        self.stack.push(*value);
        Ok(())
    }

    fn number(&mut self, opcode: u8) -> Step<()> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(self.unsigned(4)? as i32)),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(self.unsigned(2)? as i64),
            b'G' => Value::Float(f64::from_bits((self.unsigned(8)?).swap_bytes())),
            _ => {
                let len = self.unsigned(if opcode == 0x8a { 1 } else { 4 })? as usize;
                whole(self.take(len)?)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    fn string(&mut self, opcode: u8) -> Step<()> {
        let width = match opcode {
            b'U' | 0x8c | b'C' => 1,
            b'T' | b'X' | b'B' => 4,
            _ => 8,
        };
        let len = usize::try_from(self.unsigned(width)?).map_err(|e| e.to_string())?;
        let bytes = self.take(len)?;
        let is_text = matches!(opcode, b'X' | 0x8c | 0x8d);
        self.stack.push(match std::str::from_utf8(bytes) {
            // Strings of Python 2 are names as well.
            Ok(text) if is_text || matches!(opcode, b'U' | b'T') => Value::Text(text),
            Err(error) if is_text => return Err(format!("a text is not UTF-8: {error}")),
            _ => Value::Bytes(bytes),
        });
        Ok(())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().take(LINE_LIMIT).position(|b| *b == b'\n').ok_or("a name has no end")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|e| format!("a name is not UTF-8: {e}"))
    }

    fn global(&mut self, opcode: u8) -> Step<()> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            let (Value::Text(module), Value::Text(name)) = (module, name) else {
                return Err("the name of a class is no text".to_owned());
            };
            (module, name)
        };
        let value = self.heap.add(Object::Global { module, name });
        self.stack.push(value);
        Ok(())
    }

    fn collection(&mut self, opcode: u8) -> Step<()> {
        let object = match opcode {
            b')' => Object::Tuple(Vec::new()),
            0x85..=0x87 => {
                let mut values = Vec::new();
                for _ in 0x85..=opcode {
                    values.push(self.pop()?);
                }
                values.reverse();
                Object::Tuple(values)
            }
            b't' => Object::Tuple(self.marked()?),
            b']' | 0x8f => Object::List(Vec::new()),
            b'l' | 0x91 => Object::List(self.marked()?),
            b'd' => Object::Dict(self.marked_pairs()?),
            _ => Object::Dict(Vec::new()),
        };
        let value = self.heap.add(object);
        self.stack.push(value);
        Ok(())
    }

    /// Puts values into the list, dictionary or object below them.
    fn fill(&mut self, opcode: u8) -> Step<()> {
        let pairs = match opcode {
            b'a' => vec![(Value::None, self.pop()?)],
            b'e' | 0x90 => self.marked()?.into_iter().map(|v| (Value::None, v)).collect(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![(key, value)]
            }
            _ => self.marked_pairs()?,
        };
        let is_list = matches!(opcode, b'a' | b'e' | 0x90);
        let target = self.top()?;
        let Value::Object(Ref(place)) = target else { return Err("values are added to what holds none".to_owned()) };
        match self.heap.0.get_mut(place) {
            Some(Object::List(all)) if is_list => all.extend(pairs.into_iter().map(|(_, value)| value)),
            Some(Object::Dict(all)) if !is_list => all.extend(pairs),
            Some(Object::Call { items, .. }) => items.extend(pairs),
            _ => return Err("values are added to what does not hold such".to_owned()),
        }
        Ok(())
    }

    fn object(&mut self, opcode: u8) -> Step<()> {
        if opcode == b'b' {
            return self.build();
        }
        let object = match opcode {
            b'Q' => Object::Persistent(self.pop()?),
            _ => {
                if opcode == 0x92 {
                    // Arguments by name: nothing that we read has such.
                    self.pop()?;
                }
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.made(callable, arguments)
            }
        };
        let value = self.heap.add(object);
        self.stack.push(value);
        Ok(())
    }

    /// A call, or the dictionary that it is known to make.
    fn made(&self, callable: Value<'a>, arguments: Value<'a>) -> Object<'a> {
        let called = self.heap.global(callable);
        if !matches!(called, Some(("collections", "OrderedDict" | "defaultdict") | ("__builtin__" | "builtins", "dict"))) {
            return Object::Call { callable, arguments, state: Value::None, items: Vec::new() };
        }
        // Pairs as lists or tuples: how Python 2 wrote an ordered dictionary.
        let pairs = self.heap.elements(arguments).and_then(|all| self.heap.elements(*all.first()?)).unwrap_or_default();
        let pairs = pairs.iter().filter_map(|pair| match self.heap.elements(*pair)? {
            [key, value] => Some((*key, *value)),
            _ => None,
        });
        Object::Dict(pairs.collect())
    }

    /// Gives an object its state.
    fn build(&mut self) -> Step<()> {
        let given = self.pop()?;
        let Value::Object(Ref(place)) = self.top()? else { return Err("a state is given to what has none".to_owned()) };
        // A dictionary's own attributes (`_metadata`) are of no use here.
        if let Some(Object::Call { state, .. }) = self.heap.0.get_mut(place) {
            *state = given;
        }
        Ok(())
    }
}

/// A whole number from its two's complement.
fn whole(bytes: &[u8]) -> Value<'_> {
    let Some(last) = bytes.last() else { return Value::Int(0) };
    if bytes.len() > 8 {
        return Value::Bytes(bytes);
    }
    let fill = if last & 0x80 == 0 { 0 } else { -1 };
    Value::Int(bytes.iter().rev().fold(fill, |n: i64, b| n << 8 | i64::from(*b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(bytes: &[u8]) -> Value<'_> {
        read(bytes).unwrap().value
    }

    #[test]
    fn numbers_and_texts() {
        assert_eq!(value(b"\x80\x02K\x07."), Value::Int(7));
        assert_eq!(value(b"M\x34\x12."), Value::Int(0x1234));
        assert_eq!(value(b"J\xfe\xff\xff\xff."), Value::Int(-2));
        assert_eq!(value(b"\x8a\x01\xff."), Value::Int(-1));
        assert_eq!(value(b"\x8a\x00."), Value::Int(0));
        assert_eq!(value(b"\x8a\x09\x01\0\0\0\0\0\0\0\x01."), Value::Bytes(b"\x01\0\0\0\0\0\0\0\x01"));
        assert_eq!(value(b"G\x3f\xf8\0\0\0\0\0\0."), Value::Float(1.5));
        assert_eq!(value(b"X\x02\0\0\0hi."), Value::Text("hi"));
        assert_eq!(value(b"U\x02hi."), Value::Text("hi"));
        assert_eq!(value(b"C\x02hi."), Value::Bytes(b"hi"));
    }

    #[test]
    fn a_call_is_data() {
        // os.system("rm")
        let found = read(b"cos\nsystem\nX\x02\0\0\0rm\x85R.").unwrap();
        let Some(Object::Call { callable, arguments, .. }) = found.heap.object(found.value) else { panic!("{:?}", found.heap) };
        assert_eq!(found.heap.global(*callable), Some(("os", "system")));
        assert_eq!(found.heap.elements(*arguments), Some(&[Value::Text("rm")][..]));
    }

    #[test]
    fn dictionaries_are_filled() {
        for bytes in [
            &b"}(U\x01aK\x01U\x01bK\x02u."[..],
            b"(U\x01aK\x01U\x01bK\x02d.",
            b"ccollections\nOrderedDict\n)R(U\x01aK\x01U\x01bK\x02u.",
            b"ccollections\nOrderedDict\n](](U\x01aK\x01e](U\x01bK\x02ee\x85R.",
        ] {
            let found = read(bytes).unwrap();
            let Some(Object::Dict(pairs)) = found.heap.object(found.value) else { panic!("{:?}", found.heap) };
            assert_eq!(pairs, &[(Value::Text("a"), Value::Int(1)), (Value::Text("b"), Value::Int(2))]);
        }
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_with_its_place() {
        for (bytes, at, says) in [
            (&b"Niexit\n."[..], 1, "0x69"),
            (b"N", 1, "ends early"),
            (b"", 0, "ends early"),
            (b".", 0, "missing"),
            (b"NNtN.", 2, "mark"),
            (b"h\x05.", 0, "never stored"),
            (b"X\xff\xff\xff\xffhi.", 0, "ends early"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi.", 0, "ends early"),
            (b"Na.", 1, "missing"),
            (b"NNa.", 2, "holds none"),
            (b"N(\x85.", 2, "above a mark"),
            (b"cos", 0, "no end"),
        ] {
            let error = read(bytes).err().unwrap();
            assert!(error.at == at && error.reason.contains(says), "{error:?} for {bytes:?}");
        }
    }

    #[test]
    fn lists_within_lists_do_not_overrun_the_stack() {
        let mut bytes = vec![b']'; 1_000_000];
        bytes.resize(bytes.len() + 999_999, b'a');
        bytes.push(b'.');
        assert!(read(&bytes).is_ok());
    }
}
