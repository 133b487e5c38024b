//! What programs send: the ring buffers and perf event arrays that they use, read and printed as it comes.
//!
//! The maps are found by the programs' ids, so it does not matter who loaded them.

mod btf_writer;
mod contents;
mod decode;
mod dwarf;
mod sound;
mod strings;
mod types;

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use hooklab_types::loader::{Line, Lost, MapContents};
use libbpf_rs::query::{ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{
    MapCore as _, MapHandle, MapType, PerfBuffer, PerfBufferBuilder, RingBuffer, RingBufferBuilder,
};

use self::decode::{Decoder, Framing, Known, Layout};
#[cfg(test)]
pub(crate) use self::types::parse;
pub(crate) use self::types::{Types, resolve};
use crate::loaders::libbpf_messages;
use crate::output::Printer;
use crate::{Error, Object};

/// How many records of ring buffers are read before anything else has its turn.
const BATCH: usize = 1024;
/// How many batches are read at the end: a program that runs while we read may never stop sending.
const LAST_BATCHES: usize = 64;
/// How much text is kept before it is printed, in bytes.
const KEPT: usize = 1 << 20;
/// The longest name of a map in the kernel, in bytes (`BPF_OBJ_NAME_LEN` without the NUL).
const LONGEST_NAME: usize = 15;

/// The maps of the programs, with those open through which they send.
pub(crate) struct Events {
    // Before the maps: libbpf keeps their file descriptors.
    ring: Option<RingBuffer<'static>>,
    perf: Vec<PerfBuffer<'static>>,
    sink: Rc<RefCell<Sink>>,
    maps: Vec<(String, MapHandle)>,
    known: Known,
}

/// Where records go.
struct Sink {
    printer: Printer,
    text: Vec<u8>,
    error: Option<io::Error>,
}

impl Sink {
    fn take(&mut self, line: &Line) {
        self.printer.format(line, &mut self.text);
        if self.text.len() > KEPT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        if let Err(error) = self.printer.write(&text) {
            self.error.get_or_insert(error);
        }
    }
}

impl Events {
    /// Opens the maps of these programs; `event` names the struct as which records are decoded, and `with_contents` says
    /// whether [`contents`](Self::contents) will be asked for.
    ///
    /// # Errors
    ///
    /// [`Error::NoStruct`] if there is no such struct, [`Error::System`] if a map cannot be opened.
    pub(crate) fn open(
        object: &Object,
        programs: &[u32],
        event: Option<&str>,
        with_contents: bool,
        printer: Printer,
    ) -> Result<Self, Error> {
        // Whoever loaded, libbpf prints nothing by itself.
        libbpf_messages::keep();
        let maps = maps_of(object, programs)?;
        // Most programs send nothing, and then nobody needs the types.
        let wanted = event.is_some() || with_contents || maps.iter().any(|(_, map)| is_buffer(map));
        let known = if wanted { known(object) } else { Known::default() };
        let named = named(object, &known, event)?;
        let mut events = Self {
            ring: None,
            perf: Vec::new(),
            sink: Rc::new(RefCell::new(Sink { printer, text: Vec::new(), error: None })),
            maps,
            known,
        };
        let opened = events.open_rings(named.as_ref()).and_then(|()| events.open_perf_arrays(named.as_ref()));
        opened.map_err(|error| Error::library_error("open the buffers of the programs", &error))?;
        Ok(events)
    }

    fn decoder(&self, map: &str, framing: Framing, named: Option<&Layout>) -> Decoder {
        Decoder::new(map.to_owned(), framing, self.known.clone(), named.cloned())
    }

    fn open_rings(&mut self, named: Option<&Layout>) -> libbpf_rs::Result<()> {
        let mut builder = RingBufferBuilder::new();
        let mut any = false;
        for (name, map) in self.maps.iter().filter(|(_, map)| map.map_type() == MapType::RingBuf) {
            let mut decoder = self.decoder(name, Framing::Exact, named);
            let sink = Rc::clone(&self.sink);
            builder.add(map, move |bytes| {
                sink.borrow_mut().take(&Line::Record(decoder.decode(bytes)));
                0
            })?;
            any = true;
        }
        self.ring = any.then(|| builder.build()).transpose()?;
        Ok(())
    }

    fn open_perf_arrays(&mut self, named: Option<&Layout>) -> libbpf_rs::Result<()> {
        for (name, map) in self.maps.iter().filter(|(_, map)| map.map_type() == MapType::PerfEventArray) {
            let mut decoder = self.decoder(name, Framing::Padded, named);
            let (sink, lost_sink, lost_map) = (Rc::clone(&self.sink), Rc::clone(&self.sink), name.clone());
            let buffer = PerfBufferBuilder::new(map)
                .sample_cb(move |_cpu, bytes: &[u8]| {
                    sink.borrow_mut().take(&Line::Record(decoder.decode(bytes)));
                })
                .lost_cb(move |_cpu, count| {
                    lost_sink.borrow_mut().take(&Line::Lost(Lost { map: lost_map.clone(), count }));
                })
                .build()?;
            self.perf.push(buffer);
        }
        Ok(())
    }

    /// Files that become readable when there is something to [read](Self::read).
    pub(crate) fn files(&self) -> Vec<BorrowedFd<'_>> {
        let ring = self.ring.iter().map(RingBuffer::epoll_fd);
        let perf = self.perf.iter().map(PerfBuffer::epoll_fd);
        // SAFETY: they belong to the buffers, which live as long as what is returned.
        ring.chain(perf).map(|fd| unsafe { BorrowedFd::borrow_raw(fd) }).collect()
    }

    /// Prints what there is, but no more than a batch of each kind.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if standard output fails.
    pub(crate) fn read(&mut self) -> Result<(), Error> {
        self.read_batch().map(drop)
    }

    /// Prints all that there is, if it ends.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if standard output fails.
    pub(crate) fn read_rest(&mut self) -> Result<(), Error> {
        for _ in 0..LAST_BATCHES {
            if self.read_batch()? < BATCH {
                break;
            }
        }
        Ok(())
    }

    /// Prints a batch, and says how many records of ring buffers were in it.
    fn read_batch(&mut self) -> Result<usize, Error> {
        let read = self.ring.as_ref().map_or(0, |ring| ring.consume_raw_n(BATCH));
        let failed = |error| Error::library_error("read the buffers of the programs", &error);
        let read = usize::try_from(read).map_err(|_| failed(libbpf_rs::Error::from_raw_os_error(-read)))?;
        self.perf.iter().try_for_each(PerfBuffer::consume).map_err(failed)?;
        let mut sink = self.sink.borrow_mut();
        sink.flush();
        match sink.error.take() {
            Some(source) => Err(Error::System { what: "write to standard output", source }),
            None => Ok(read),
        }
    }

    /// The contents of the maps.
    pub(crate) fn contents(&self) -> Vec<MapContents> {
        let types = self.known.btf.as_ref();
        self.maps.iter().filter_map(|(name, map)| contents::of(name, map, types)).collect()
    }
}

/// Whether programs send through the map.
fn is_buffer(map: &MapHandle) -> bool {
    matches!(map.map_type(), MapType::RingBuf | MapType::PerfEventArray)
}

/// What the object says of structs.
fn known(object: &Object) -> Known {
    let share = |types: Types| Rc::new(RefCell::new(types));
    Known {
        btf: Types::read(object.bytes()).map(share),
        variables: Types::of_variables(object.bytes()).map(share),
    }
}

/// The struct that `--event` names, or the only one that the package exports.
fn named(object: &Object, known: &Known, event: Option<&str>) -> Result<Option<Layout>, Error> {
    match event {
        Some(name) => {
            let missing = || Error::NoStruct { path: object.path().to_owned(), name: name.to_owned() };
            known.named(name).map(Some).ok_or_else(missing)
        }
        None => Ok(object.exported_type().and_then(|name| known.named(&name))),
    }
}

/// The maps that these programs use, in the order in which they were created.
fn maps_of(object: &Object, programs: &[u32]) -> Result<Vec<(String, MapHandle)>, Error> {
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let used = ProgInfoIter::with_query_opts(options).filter(|program| programs.contains(&program.id));
    let mut ids: Vec<u32> = used.flat_map(|program| program.map_ids).collect();
    ids.sort_unstable();
    ids.dedup();
    let names = object.map_names();
    let open = |id: &u32| {
        let map = MapHandle::from_map_id(*id)?;
        let name = full_name(&map.name().to_string_lossy(), &names);
        Ok((name, map))
    };
    let opened = ids.iter().map(open).collect::<libbpf_rs::Result<_>>();
    opened.map_err(|error| Error::library_error("open the maps of the programs", &error))
}

/// The name in the object of a map whose name the kernel cut off.
fn full_name(kept: &str, names: &[String]) -> String {
    let mut fitting = names.iter().filter(|name| name.get(..LONGEST_NAME) == Some(kept));
    match (fitting.next(), fitting.next()) {
        (Some(name), None) if kept.len() == LONGEST_NAME => name.clone(),
        _ => kept.to_owned(),
    }
}

/// What [`crate::fuzzing`] enters by.
pub(crate) mod fuzzing {
    pub(crate) use super::decode::{Decoder, Framing, Known};
    pub(crate) use super::dwarf::to_btf;
    pub(crate) use super::types::{Types, parse};
}

#[cfg(test)]
pub(crate) mod fuzz_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_cut_off_are_completed() {
        let names =
            ["events", "a_map_with_a_long_name", "b_map_with_a_long_name", "b_map_with_a_longer_name"];
        let names = names.map(str::to_owned);
        assert_eq!(full_name("events", &names), "events");
        assert_eq!(full_name("a_map_with_a_lo", &names), "a_map_with_a_long_name");
        assert_eq!(full_name("b_map_with_a_lo", &names), "b_map_with_a_lo");
        assert_eq!(full_name("other", &names), "other");
    }
}
