//! Attaching a loaded program by libbpf: by its section, or at the place that the user names where the section names none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd};

use libbpf_rs::{
    Link, MapCore as _, MapType, NetfilterOpts, Object, ProgramMut, TC_EGRESS, TC_INGRESS, TcHook,
    TcHookBuilder, UprobeOpts, libbpf_sys,
};

use super::{Held, attach_error};
use crate::place::{self, not_attachable};
use crate::{Error, HookKind, Place, Program};

/// Attaches a program, to its hook or at the place.
pub(super) fn attach(
    object: &Object,
    loaded: &ProgramMut<'_>,
    program: &Program,
    place: &Place,
) -> Result<Vec<Held>, Error> {
    let failed = |error: libbpf_rs::Error| attach_error(program, &error);
    let link = match program.hook.kind {
        // The link of its map attaches it.
        HookKind::StructOps => return Ok(Vec::new()),
        HookKind::PerfEvent => return clocks(loaded, program),
        HookKind::Tc => return traffic(loaded, program, place),
        HookKind::SocketFilter => return socket(loaded, program, place),
        HookKind::SkMsg | HookKind::SkSkb => return sockmap(object, loaded, program),
        HookKind::Uprobe | HookKind::Uretprobe if needs_path(program) => uprobe(loaded, program, place)?,
        HookKind::Usdt if program.hook.target.split(':').count() < 3 => usdt(loaded, program, place)?,
        HookKind::Xdp => loaded.attach_xdp(place::interface(program, place)?).map_err(failed)?,
        HookKind::Cgroup | HookKind::SockOps | HookKind::LsmCgroup => {
            let cgroup = place::cgroup(program, place)?;
            loaded.attach_cgroup(cgroup.as_raw_fd()).map_err(failed)?
        }
        HookKind::SkLookup | HookKind::FlowDissector => {
            let namespace = File::open("/proc/self/ns/net")
                .map_err(|source| Error::System { what: "open the network namespace", source })?;
            loaded.attach_netns(namespace.as_raw_fd()).map_err(failed)?
        }
        HookKind::Netfilter => loaded.attach_netfilter_with_opts(before_local_delivery()).map_err(failed)?,
        HookKind::TcAction => {
            return Err(not_attachable(program, "an action belongs to a filter of tc, and there is none"));
        }
        HookKind::Syscall => {
            return Err(not_attachable(program, "nothing calls it: it is run by whoever loaded it"));
        }
        _ => loaded.attach().map_err(|error| by_section_error(program, &error))?,
    };
    Ok(vec![Held::Link(link)])
}

/// Says what libbpf's "not supported" means: it has no place for this section.
fn by_section_error(program: &Program, error: &libbpf_rs::Error) -> Error {
    match error.kind() {
        libbpf_rs::ErrorKind::Unsupported => not_attachable(
            program,
            format!("libbpf attaches no program in section `{}` by itself", program.section),
        ),
        _ => attach_error(program, error),
    }
}

/// Whether a uprobe's section leaves out the file.
fn needs_path(program: &Program) -> bool {
    program.hook.file_and_function().0.is_none()
}

/// Attaches to a function of the user's file: the section's, or else the one that is called as the program is.
fn uprobe(loaded: &ProgramMut<'_>, program: &Program, place: &Place) -> Result<Link, Error> {
    let path = place::probed_file(program, place)?;
    let function = program.hook.file_and_function().1.unwrap_or(&program.name);
    let options = UprobeOpts {
        retprobe: program.hook.is_return(),
        func_name: Some(function.to_owned()),
        ..UprobeOpts::default()
    };
    loaded.attach_uprobe_with_opts(-1, path, 0, options).map_err(|error| attach_error(program, &error))
}

/// Attaches to a static probe of the user's file.
fn usdt(loaded: &ProgramMut<'_>, program: &Program, place: &Place) -> Result<Link, Error> {
    let path = place::probed_file(program, place)?;
    let (provider, name) = program.hook.target.split_once(':').ok_or_else(|| {
        not_attachable(program, "its section names no probe; write SEC(\"usdt/FILE:PROVIDER:NAME\")")
    })?;
    loaded.attach_usdt(-1, path, provider, name).map_err(|error| attach_error(program, &error))
}

/// Attaches to a clock of every CPU.
fn clocks(loaded: &ProgramMut<'_>, program: &Program) -> Result<Vec<Held>, Error> {
    let events = place::cpu_clocks().map_err(|source| Error::System { what: "open a perf event", source })?;
    let attach = |event: OwnedFd| {
        // The link closes it; if there is none, we do.
        let link =
            loaded.attach_perf_event(event.as_raw_fd()).map_err(|error| attach_error(program, &error))?;
        let _ = event.into_raw_fd();
        Ok(Held::Link(link))
    };
    events.into_iter().map(attach).collect()
}

/// Attaches to the traffic of an interface: by a link where the kernel has it (since 6.6), else as a filter.
fn traffic(loaded: &ProgramMut<'_>, program: &Program, place: &Place) -> Result<Vec<Held>, Error> {
    let index = place::interface(program, place)?;
    let egress = program.hook.is_egress();
    let direction = if egress { libbpf_sys::BPF_TCX_EGRESS } else { libbpf_sys::BPF_TCX_INGRESS };
    // SAFETY: the call takes numbers and no options, and returns a new file descriptor or an error.
    let link = unsafe {
        libbpf_sys::bpf_link_create(loaded.as_fd().as_raw_fd(), index, direction, std::ptr::null())
    };
    if link >= 0 {
        // SAFETY: the kernel just made this file descriptor, and nobody else knows it.
        return Ok(vec![Held::File(unsafe { OwnedFd::from_raw_fd(link) })]);
    }
    let hook =
        TcHookBuilder::new(loaded.as_fd()).ifindex(index).hook(if egress { TC_EGRESS } else { TC_INGRESS });
    let filter = add_filter(hook).map_err(|error| attach_error(program, &error))?;
    Ok(vec![Held::Filter(filter)])
}

fn add_filter(mut hook: TcHook) -> libbpf_rs::Result<TcHook> {
    hook.create()?.attach()
}

/// Removes a filter and its queueing discipline.
pub(super) fn remove_filter(filter: TcHook) -> Result<(), Error> {
    let mut filter = filter;
    let removed = filter.detach().and_then(|()| {
        filter.attach_point(TC_EGRESS | TC_INGRESS);
        filter.destroy()
    });
    removed.map_err(|error| super::library_error("remove a filter".to_owned(), &error))
}

/// Attaches to a socket that gets the packets of an interface.
fn socket(loaded: &ProgramMut<'_>, program: &Program, place: &Place) -> Result<Vec<Held>, Error> {
    let refuse = |source: io::Error| not_attachable(program, format!("no socket gets packets: {source}"));
    let socket = place::packet_socket(&place.interface).map_err(refuse)?;
    place::attach_to_socket(&socket, loaded.as_fd())
        .map_err(|error| not_attachable(program, format!("the socket does not take it: {error}")))?;
    Ok(vec![Held::File(socket)])
}

/// Attaches to the first map of sockets in the object.
fn sockmap(object: &Object, loaded: &ProgramMut<'_>, program: &Program) -> Result<Vec<Held>, Error> {
    let map = object.maps().find(|map| matches!(map.map_type(), MapType::Sockmap | MapType::Sockhash));
    let map = map.ok_or_else(|| not_attachable(program, "the object has no map of sockets"))?;
    loaded.attach_sockmap(map.as_fd().as_raw_fd()).map_err(|error| attach_error(program, &error))?;
    Ok(Vec::new())
}

/// The hook for packets of IPv4 that are for this machine.
fn before_local_delivery() -> NetfilterOpts {
    NetfilterOpts {
        protocol_family: libbpf_rs::NFPROTO_IPV4,
        hooknum: libbpf_rs::NF_INET_LOCAL_IN,
        ..NetfilterOpts::default()
    }
}
