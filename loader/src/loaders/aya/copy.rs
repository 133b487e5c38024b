//! A copy of an object that aya takes: it refuses a whole object for one section that it does not know.
//!
//! In the copy such sections have another name, or are no code any more. What `.BTF.ext` says of them follows. Everything that
//! grows goes to the end of the file, so that nothing else moves.

use std::collections::HashMap;

/// What becomes of a section with programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Keep,
    Rename(String),
    LeaveOut,
}

/// Flag of sections with instructions (`elf.h`).
const SHF_EXECINSTR: u64 = 4;
/// The size of a section header in a 64-bit file, and where its fields are.
const HEADER: usize = 64;
const FLAGS: usize = 8;
const OFFSET: usize = 24;
const SIZE: usize = 32;
/// Where the header of `.BTF` has the offset and the length of its strings, after its own length.
const HEADER_LENGTH: usize = 4;
const STRINGS: usize = 16;
const STRINGS_LENGTH: usize = 20;
/// Where the header of `.BTF.ext` has the offsets and lengths of its three tables.
const TABLES: [usize; 3] = [8, 16, 24];

/// Copies an object with the changes; `None` if the file is damaged, or not of 64 bits.
pub(super) fn copy(bytes: &[u8], change: impl Fn(&str) -> Change) -> Option<Vec<u8>> {
    let mut file = File::read(bytes)?;
    let mut changes = HashMap::new();
    for at in 0..file.count {
        let header = file.header(at)?;
        let flags = read_u64(&file.bytes, header.checked_add(FLAGS)?)?;
        let name = file.name(at)?;
        if flags & SHF_EXECINSTR == 0 || name == ".text" {
            continue;
        }
        let change = change(&name);
        match &change {
            Change::Keep => continue,
            Change::Rename(new) => file.rename(at, new)?,
            Change::LeaveOut => {
                write(&mut file.bytes, header + FLAGS, &(flags & !SHF_EXECINSTR).to_ne_bytes())?;
            }
        }
        changes.insert(name, change);
    }
    file.store_names()?;
    file.change_btf(&changes)?;
    Some(file.bytes)
}

/// The file that is being changed.
struct File {
    bytes: Vec<u8>,
    /// Where the section headers are, how many there are, and which is that of the names.
    headers: usize,
    count: usize,
    names_at: usize,
    names: Vec<u8>,
}

impl File {
    fn read(bytes: &[u8]) -> Option<Self> {
        /// `e_ident[EI_CLASS]` of a 64-bit file.
        const CLASS64: u8 = 2;
        let (class, entry) = (*bytes.get(4)?, usize::from(read_u16(bytes, 58)?));
        if class != CLASS64 || entry != HEADER {
            return None;
        }
        let mut file = Self {
            bytes: bytes.to_vec(),
            headers: read_u64(bytes, 40)?.try_into().ok()?,
            count: read_u16(bytes, 60)?.into(),
            names_at: read_u16(bytes, 62)?.into(),
            names: Vec::new(),
        };
        file.names = file.content(file.names_at)?.to_vec();
        Some(file)
    }

    fn header(&self, section: usize) -> Option<usize> {
        self.headers.checked_add(section.checked_mul(HEADER)?)
    }

    fn content(&self, section: usize) -> Option<&[u8]> {
        let header = self.header(section)?;
        let start: usize = read_u64(&self.bytes, header.checked_add(OFFSET)?)?.try_into().ok()?;
        let size: usize = read_u64(&self.bytes, header.checked_add(SIZE)?)?.try_into().ok()?;
        self.bytes.get(start..start.checked_add(size)?)
    }

    fn name(&self, section: usize) -> Option<String> {
        string(&self.names, read_u32(&self.bytes, self.header(section)?)?)
    }

    fn find(&self, name: &str) -> Option<usize> {
        (0..self.count).find(|section| self.name(*section).as_deref() == Some(name))
    }

    fn rename(&mut self, section: usize, name: &str) -> Option<()> {
        let at = u32::try_from(self.names.len()).ok()?;
        self.names.extend(name.as_bytes());
        self.names.push(0);
        let header = self.header(section)?;
        write(&mut self.bytes, header, &at.to_ne_bytes())
    }

    /// Gives a section new content, at the end of the file.
    fn replace(&mut self, section: usize, content: &[u8]) -> Option<()> {
        let header = self.header(section)?;
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at, 0);
        self.bytes.extend(content);
        write(&mut self.bytes, header.checked_add(OFFSET)?, &(at as u64).to_ne_bytes())?;
        write(&mut self.bytes, header.checked_add(SIZE)?, &(content.len() as u64).to_ne_bytes())
    }

    fn store_names(&mut self) -> Option<()> {
        let names = self.names.clone();
        self.replace(self.names_at, &names)
    }

    /// Renames sections in `.BTF.ext`, and removes what it says of those that are left out.
    fn change_btf(&mut self, changes: &HashMap<String, Change>) -> Option<()> {
        let (Some(btf_at), Some(ext_at)) = (self.find(".BTF"), self.find(".BTF.ext")) else {
            return Some(());
        };
        let btf = self.content(btf_at)?;
        let start = read_u32(btf, HEADER_LENGTH)?.checked_add(read_u32(btf, STRINGS)?)? as usize;
        let end = start.checked_add(read_u32(btf, STRINGS_LENGTH)? as usize)?;
        let mut strings = btf.get(start..end)?.to_vec();
        let ext = change_ext(self.content(ext_at)?, changes, &mut strings)?;
        let mut btf = btf.get(..start)?.to_vec();
        write(&mut btf, STRINGS_LENGTH, &u32::try_from(strings.len()).ok()?.to_ne_bytes())?;
        btf.extend(strings);
        self.replace(btf_at, &btf)?;
        self.replace(ext_at, &ext)
    }
}

/// Copies `.BTF.ext` with the changes; new names are added to the strings.
fn change_ext(ext: &[u8], changes: &HashMap<String, Change>, strings: &mut Vec<u8>) -> Option<Vec<u8>> {
    let header = read_u32(ext, HEADER_LENGTH)? as usize;
    let mut copy = ext.get(..header)?.to_vec();
    // Objects from before CO-RE have no third table.
    for field in TABLES.into_iter().filter(|field| field + 8 <= header) {
        let start = header.checked_add(read_u32(ext, field)? as usize)?;
        let table = ext.get(start..start.checked_add(read_u32(ext, field + 4)? as usize)?)?;
        let table = change_table(table, changes, strings)?;
        let offset = u32::try_from(copy.len() - header).ok()?;
        write(&mut copy, field, &offset.to_ne_bytes())?;
        write(&mut copy, field + 4, &u32::try_from(table.len()).ok()?.to_ne_bytes())?;
        copy.extend(table);
    }
    Some(copy)
}

/// Copies a table: the size of its records, then for each section its name, their number, and the records.
fn change_table(table: &[u8], changes: &HashMap<String, Change>, strings: &mut Vec<u8>) -> Option<Vec<u8>> {
    if table.is_empty() {
        return Some(Vec::new());
    }
    let size = read_u32(table, 0)? as usize;
    let mut copy = table.get(..4)?.to_vec();
    let mut at = 4;
    while at < table.len() {
        let (mut name, count) = (read_u32(table, at)?, read_u32(table, at + 4)?);
        let records = table.get(at + 8..(at + 8).checked_add(size.checked_mul(count as usize)?)?)?;
        at = at + 8 + records.len();
        match changes.get(&string(strings, name)?) {
            Some(Change::LeaveOut) => continue,
            Some(Change::Rename(new)) => {
                name = u32::try_from(strings.len()).ok()?;
                strings.extend(new.as_bytes());
                strings.push(0);
            }
            Some(Change::Keep) | None => {}
        }
        copy.extend(name.to_ne_bytes());
        copy.extend(count.to_ne_bytes());
        copy.extend(records);
    }
    // A table without records has no size of records either.
    Some(if copy.len() > 4 { copy } else { Vec::new() })
}

/// The string that starts there, up to its NUL.
fn string(strings: &[u8], at: u32) -> Option<String> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest[..end].to_vec()).ok()
}

fn read<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    read(bytes, at).map(u16::from_ne_bytes)
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    read(bytes, at).map(u32::from_ne_bytes)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    read(bytes, at).map(u64::from_ne_bytes)
}

fn write(bytes: &mut [u8], at: usize, new: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(new.len())?)?.copy_from_slice(new);
    Some(())
}
