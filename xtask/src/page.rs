//! What is generated in docs/: a part of kernels.md, from a report, and the schema of reports, from its types.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use hooklab::report::features;
use hooklab_types::report::{self, Report};

const PAGE: &str = "docs/kernels.md";
const SCHEMA_FILE: &str = "docs/report.schema.json";
const BEGIN: &str = "<!-- made by `cargo xtask doc` -->\n";
const END: &str = "<!-- end of what is made -->\n";

/// A generated file of the checkout, as it is and as it should be.
pub(crate) struct Page {
    path: PathBuf,
    before: String,
    after: String,
}

impl Page {
    /// The JSON schema of reports.
    ///
    /// # Errors
    /// It cannot be read; the first one comes by `touch`.
    pub(crate) fn schema(root: &Path) -> Result<Self> {
        let path = root.join(SCHEMA_FILE);
        let before = read(&path)?;
        let mut after = serde_json::to_string_pretty(&report::schema())?;
        after.push('\n');
        Ok(Self { path, before, after })
    }

    /// The page about kernels, with what `report` knows between its marks.
    ///
    /// # Errors
    /// The page has no marks; the report knows nothing of a kernel.
    pub(crate) fn kernels(root: &Path, report: &Report) -> Result<Self> {
        let path = root.join(PAGE);
        let before = read(&path)?;
        if let Some(kernel) = report.kernels.iter().find(|kernel| kernel.features.is_none()) {
            bail!("failed to describe kernel {}: the report does not say what it can do", kernel.spec);
        }
        let Some((head, rest)) = before.split_once(BEGIN) else {
            bail!("failed to find {BEGIN:?} in {PAGE}")
        };
        let Some((_, tail)) = rest.split_once(END) else { bail!("failed to find {END:?} in {PAGE}") };
        let after = format!("{head}{BEGIN}\n{}\n\n{END}{tail}", features::markdown(report));
        Ok(Self { path, before, after })
    }

    /// Its path in the checkout.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file says something else.
    pub(crate) fn is_stale(&self) -> bool {
        self.before != self.after
    }

    /// Writes the file.
    pub(crate) fn write(&self) -> Result<()> {
        Ok(hooklab_vm::host::write_whole(&self.path, self.after.as_bytes())?)
    }
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use hooklab_types::kernel::{Accelerator, Features};

    use super::*;
    use hooklab_types::report::Kernel;

    fn report(features: Option<Features>) -> Report {
        let kernels = vec![Kernel { features, ..Kernel::unknown("6.12") }];
        Report::new(Accelerator::Tcg, 0.0, kernels)
    }

    #[test]
    fn the_schema_in_docs_is_that_of_the_types() {
        let checkout = crate::checkout::Checkout::find().unwrap();
        assert!(!Page::schema(&checkout.root).unwrap().is_stale(), "`cargo xtask doc` updates {SCHEMA_FILE}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_made_and_made_once() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("docs")).unwrap();
        let path = root.path().join(PAGE);
        let text = |made: &str| format!("before\n{BEGIN}{made}{END}after\n");
        fs::write(&path, text("old")).unwrap();
        let features =
            Features { btf: true, tracefs: true, bpf_lsm: false, bpf_jit: true, kprobes: true, fentry: true };
        let page = Page::kernels(root.path(), &report(Some(features))).unwrap();
        assert!(page.is_stale());
        page.write().unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert!(written.starts_with("before\n") && written.ends_with("after\n"), "{written}");
        assert!(written.contains("| 6.12   | -       | yes | yes     | no      |"), "{written}");
        assert!(!Page::kernels(root.path(), &report(Some(features))).unwrap().is_stale());
        assert!(
            Page::kernels(root.path(), &report(None)).is_err_and(|error| error.to_string().contains("6.12"))
        );
        fs::write(&path, "no marks").unwrap();
        assert!(Page::kernels(root.path(), &report(Some(features))).is_err());
    }
}
