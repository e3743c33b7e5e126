//! `charts`: draws what JSON lines hold, and writes the page around the pictures. Nothing is
//! measured here; the same lines give the same files.

mod bars;
mod canvas;
mod lines;
mod page;
mod results;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use ringlog_benches::error::{Context, Error, Result};
use ringlog_benches::report::print;

use self::results::Results;

/// What to draw, and where to.
#[derive(Clone, Debug, Args)]
pub struct ChartsArgs {
    /// JSON lines that `compare` has written; what comes later in them replaces what came before
    #[arg(required = true, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// The directory for pictures and page
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
}

/// Draws them.
pub fn run(args: &ChartsArgs) -> Result<()> {
    let mut results = Results::default();
    for path in &args.from {
        let text = fs::read_to_string(path).context(format!("reading {}", path.display()))?;
        results.add(&text).context(format!("reading {}", path.display()))?;
    }
    if results.works.is_empty() && results.series.is_empty() {
        return Err(Error::new("there is nothing to draw in these lines"));
    }
    fs::create_dir_all(&args.into).context(format!("creating {}", args.into.display()))?;
    let drawn = draw(&results, &args.into)?;
    print(&format!("{drawn} files in {}", args.into.display()))
}

/// Draws all into `dir`; the number of files.
fn draw(results: &Results, dir: &Path) -> Result<usize> {
    let mut files = 0;
    let mut write = |name: String, text: String| {
        files += 1;
        let path = dir.join(name);
        fs::write(&path, text).context(format!("writing {}", path.display()))
    };
    for work in &results.works {
        let name = &work.figures.workload;
        write(format!("throughput-{name}.svg"), bars::throughput(work)?)?;
        write(format!("cpu-{name}.svg"), bars::cpu(work)?)?;
        write(format!("latency-{name}.svg"), lines::latency(work)?)?;
    }
    for series in &results.series {
        write(format!("scale-{}.svg", series.name), lines::scale(series)?)?;
    }
    write("README.md".to_owned(), page::page(results))?;
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::charts::results::tests::example;

    #[test]
    fn the_same_lines_give_the_same_files_and_each_picture_is_on_the_page() {
        let mut results = Results::default();
        results.add(&example()).expect("the lines are ours");
        let dirs = [(), ()].map(|()| tempfile::tempdir().expect("a directory"));
        let drawn = dirs.each_ref().map(|dir| draw(&results, dir.path()).expect("it is drawn"));
        assert_eq!(drawn, [2 * 3 + 1 + 1; 2]);
        let page = fs::read_to_string(dirs[0].path().join("README.md")).expect("the page");
        for entry in fs::read_dir(dirs[0].path()).expect("the files") {
            let name = entry.expect("a file").file_name().into_string().expect("plain");
            let [one, other] =
                dirs.each_ref().map(|dir| fs::read(dir.path().join(&name)).expect("it is there"));
            assert_eq!(one, other, "{name}");
            assert!(name == "README.md" || page.contains(&name), "{name} is not on the page");
        }
    }
}
