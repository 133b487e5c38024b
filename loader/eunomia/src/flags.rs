//! The flags of a package: one for each variable of its data sections, as in `ecli`.

use hooklab_types::loader::LoaderKind;
use std::collections::HashSet;
use std::ffi::OsString;

use bpf_loader_lib::meta::arg_parser::UnpresentVariableAction;
use bpf_loader_lib::meta::{ComposedObject, DataSectionVariableMeta};
use clap::builder::StyledStr;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};
use hooklab_loader::{Error, Global, Object, Program, Setting};

/// Prefix of variables that `ecc` adds to the program; they are never set.
const DUMMY: &str = "__eunomia_dummy";
/// Flags that the engine adds to those of the package.
const OWN: [&str; 3] = ["verbose", "help", "version"];
/// The data sections that the engine can fill.
const FILLED: [&str; 2] = [".rodata", ".bss"];

/// A package, as the engine reads it, and its flags.
pub(crate) struct Flags {
    package: ComposedObject,
    command: Command,
}

/// A package with the values of its flags.
pub(crate) struct Values {
    /// The package.
    pub(crate) package: ComposedObject,
    /// The flags as words.
    pub(crate) words: Vec<OsString>,
    /// The variables that a flag has set.
    pub(crate) set: Vec<Setting>,
}

impl Flags {
    /// Asks the engine for the flags of a package; `loader` is for messages.
    ///
    /// # Errors
    ///
    /// [`Error::NotPackage`] if the object is not in a package; [`Error::Library`] if the engine rejects it.
    pub(crate) fn of(object: &Object, loader: LoaderKind) -> Result<Self, Error> {
        let not_package = || Error::NotPackage { path: object.path().to_owned(), loader };
        let text = object.package().ok_or_else(not_package)?;
        let refuse = |message: String| Error::Library {
            loader,
            what: format!("use `{}`", object.path().display()),
            source: message.into(),
        };
        let package: ComposedObject =
            serde_json::from_slice(text).map_err(|error| refuse(error.to_string()))?;
        check_names(&package).map_err(refuse)?;
        let command = package.meta.build_argument_parser().map_err(|error| refuse(format!("{error:#}")))?;
        // The engine would print the object's name as the program's.
        let usage = format!("hooklab-loader run --loader {loader} [OPTIONS] PACKAGE [FLAGS]");
        let command = command.no_binary_name(true).disable_version_flag(true).override_usage(usage);
        Ok(Self { package, command })
    }

    /// The list of the flags, for `--help`.
    pub(crate) fn help(&self) -> StyledStr {
        let template = "Flags of the package:\n{options}";
        self.command.clone().disable_help_flag(true).help_template(template).render_help()
    }

    /// Parses flags and fills in their values.
    ///
    /// # Errors
    ///
    /// The parser's error or help text.
    pub(crate) fn parse(self, words: Vec<OsString>) -> Result<Values, clap::Error> {
        let Self { mut package, mut command } = self;
        let matches = command.try_get_matches_from_mut(&words)?;
        package
            .meta
            .parse_arguments_and_fill_skeleton_variables(&matches, UnpresentVariableAction::FillWithZero)
            .map_err(|error| command.error(ErrorKind::ValueValidation, format!("{error:#}")))?;
        let set: Vec<Setting> = variables(&package)
            .filter(|(_, variable)| is_set(&matches, variable))
            .map(|(_, variable)| Setting {
                name: variable.name.clone(),
                flag: format!("--{}", flag(variable)),
            })
            .collect();
        leave_out_other_sections(&mut package, &set)
            .map_err(|message| command.error(ErrorKind::ArgumentConflict, message))?;
        Ok(Values { package, words, set })
    }
}

impl Values {
    /// Whether the variable that `--pid-filter` sets is among those that a flag has set.
    pub(crate) fn names_filter(&self) -> bool {
        self.set.iter().any(|setting| setting.name == "pid_filter")
    }

    /// The flag of a variable.
    ///
    /// # Errors
    ///
    /// [`Error::Library`] if the package does not list it; `loader` is for the message.
    pub(crate) fn flag_of(&self, global: &Global, loader: LoaderKind) -> Result<String, Error> {
        let mut variables = variables(&self.package);
        match variables.find(|(_, variable)| variable.name == global.name) {
            Some((_, variable)) => Ok(format!("--{}", flag(variable))),
            None => Err(not_listed(global, loader)),
        }
    }

    /// The object's programs that the package lists: the engine attaches no others.
    pub(crate) fn programs<'a>(&'a self, object: &'a Object) -> impl Iterator<Item = &'a Program> {
        let named = &self.package.meta.bpf_skel.progs;
        object.programs().iter().filter(|program| named.iter().any(|meta| meta.name == program.name))
    }
}

/// The error for a variable that the package does not list.
pub(crate) fn not_listed(global: &Global, loader: LoaderKind) -> Error {
    Error::Library {
        loader,
        what: format!("set `{}`", global.name),
        source: "the package does not list it among its variables".into(),
    }
}

/// The variables that have flags, with the names of their sections.
fn variables(package: &ComposedObject) -> impl Iterator<Item = (&str, &DataSectionVariableMeta)> {
    let sections = package.meta.bpf_skel.data_sections.iter();
    sections
        .flat_map(|section| section.variables.iter().map(|variable| (section.name.as_str(), variable)))
        .filter(|(_, variable)| !variable.name.starts_with(DUMMY))
}

fn flag(variable: &DataSectionVariableMeta) -> &str {
    variable.cmdarg.long.as_deref().unwrap_or(&variable.name)
}

fn is_set(matches: &ArgMatches, variable: &DataSectionVariableMeta) -> bool {
    matches.value_source(&variable.name) == Some(ValueSource::CommandLine)
}

/// Refuses ambiguous flags, which would make the engine's parser panic.
fn check_names(package: &ComposedObject) -> Result<(), String> {
    let mut names: HashSet<&str> = OWN.into();
    let mut flags = names.clone();
    let mut letters: HashSet<&str> = ["h", "V"].into();
    for (_, variable) in variables(package) {
        let letter = variable.cmdarg.short.as_deref();
        if !names.insert(&variable.name)
            || !flags.insert(flag(variable))
            || letter.is_some_and(|letter| !letters.insert(letter))
        {
            return Err(format!("the flag of its variable `{}` is taken by something else", variable.name));
        }
    }
    Ok(())
}

/// Removes data sections that the engine cannot fill, such as `.data`: it would reject the package. If no flag sets a
/// variable of such a section, there is nothing to fill: libbpf takes the values from the object.
fn leave_out_other_sections(package: &mut ComposedObject, set: &[Setting]) -> Result<(), String> {
    let is_other = |section: &str| !FILLED.contains(&section);
    let is_set = |variable: &DataSectionVariableMeta| set.iter().any(|setting| setting.name == variable.name);
    if let Some((section, variable)) = variables(package).find(|(section, v)| is_other(section) && is_set(v))
    {
        return Err(format!("eunomia's engine sets no variable of {section}, where `{}` is", variable.name));
    }
    package.meta.bpf_skel.data_sections.retain(|section| !is_other(&section.name));
    Ok(())
}
