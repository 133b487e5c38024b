//! Turning what a program sends into text: as which type, if any.

use std::cell::RefCell;
use std::rc::Rc;

use hooklab_types::loader::Record;
use libbpf_rs::btf::TypeId;

use super::types::{Types, hexadecimal};

/// How the bytes of a record relate to its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A record has as many bytes as its type.
    Exact,
    /// A record and a number of 32 bits before it fill whole words of 64 bits, as perf has them.
    Padded,
}

impl Framing {
    /// The size of a record of a type of that size.
    fn of(self, size: usize) -> usize {
        match self {
            Self::Exact => size,
            Self::Padded => (size + 4).next_multiple_of(8) - 4,
        }
    }
}

/// A struct, and where it is described.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) types: Rc<RefCell<Types>>,
    pub(crate) id: TypeId,
    pub(crate) name: String,
}

/// The structs that records may have.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// Those of the object's BTF.
    pub(crate) btf: Option<Rc<RefCell<Types>>>,
    /// Those of the program's variables, by its debugging information.
    pub(crate) variables: Option<Rc<RefCell<Types>>>,
}

impl Known {
    /// The struct of that name.
    pub(crate) fn named(&self, name: &str) -> Option<Layout> {
        [&self.btf, &self.variables].into_iter().flatten().find_map(|types| {
            let found = types.borrow().structs().find(|(_, of, _)| of == name);
            found.map(|(id, name, _)| Layout { types: Rc::clone(types), id, name })
        })
    }

    /// The only struct whose records have that size. Debugging information knows all that a program can send; BTF may lack just
    /// that struct, and have one of the same size that is sent by nobody, so it is asked only without, and only for those that
    /// are not the kernel's.
    fn only_of(&self, framing: Framing, size: usize) -> Option<Layout> {
        let (types, structs) = match (&self.variables, &self.btf) {
            (Some(types), _) => (types, types.borrow().structs().collect()),
            (None, Some(types)) => (types, types.borrow().own_structs()),
            (None, None) => return None,
        };
        let mut fitting = structs.into_iter().filter(|(.., of)| *of > 0 && framing.of(*of) == size);
        let (id, name, _) = fitting.next()?;
        fitting.next().is_none().then(|| Layout { types: Rc::clone(types), id, name })
    }
}

/// Decodes the records of one map.
pub(crate) struct Decoder {
    map: String,
    framing: Framing,
    known: Known,
    choice: Choice,
}

/// As what records are decoded.
enum Choice {
    /// As this struct, whatever their size.
    Named(Layout),
    /// As the only struct of the size that all have had so far; which that is, as soon as there was one.
    BySize(Option<(usize, Option<Layout>)>),
    /// Not at all: their sizes differ.
    Nothing,
}

impl Decoder {
    /// Decodes records as this struct or, without one, as the only struct of their size.
    pub(crate) fn new(map: String, framing: Framing, known: Known, named: Option<Layout>) -> Self {
        let choice = named.map_or(Choice::BySize(None), Choice::Named);
        Self { map, framing, known, choice }
    }

    /// Decodes a record.
    pub(crate) fn decode(&mut self, bytes: &[u8]) -> Record {
        self.choose(bytes.len());
        let decoded = match &self.choice {
            Choice::Named(layout) | Choice::BySize(Some((_, Some(layout)))) => describe(layout, bytes),
            _ => None,
        };
        let (type_name, value) = match decoded {
            Some((name, value)) => (Some(name), value),
            None => (None, hexadecimal(bytes)),
        };
        Record { map: self.map.clone(), type_name, value, bytes: bytes.len() as u64 }
    }

    /// Looks for the struct of that size, or gives up.
    fn choose(&mut self, size: usize) {
        match &self.choice {
            Choice::Named(..) | Choice::Nothing => {}
            Choice::BySize(Some((known, _))) if *known == size => {}
            Choice::BySize(Some(_)) => self.choice = Choice::Nothing,
            Choice::BySize(None) => {
                self.choice = Choice::BySize(Some((size, self.known.only_of(self.framing, size))));
            }
        }
    }
}

/// The name of a struct, and a value of it without that name.
fn describe(Layout { types, id, name }: &Layout, bytes: &[u8]) -> Option<(String, String)> {
    let text = types.borrow_mut().describe(*id, bytes)?;
    let value = text.strip_prefix(&format!("(struct {name})")).unwrap_or(&text).to_owned();
    Some((name.clone(), value))
}
