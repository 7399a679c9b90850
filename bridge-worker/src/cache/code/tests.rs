//! The code by its files: what is told apart, what is passed over, what is too much.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use testkit::Scratch;

use super::*;

/// A directory of code, and one beside it.
struct Desk {
    scratch: Scratch,
    code: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let scratch = Scratch::new();
        let code = scratch.join("code");
        std::fs::create_dir_all(code.join("package")).unwrap();
        Self { scratch, code }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.scratch.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn look(&self) -> Code {
        Code::look(std::slice::from_ref(&self.code), &[self.scratch.join("data")])
    }

    fn hash(&self) -> String {
        self.look().hash().unwrap()
    }
}

#[test]
fn the_code_is_told_apart_by_content_and_by_name_and_nothing_else() {
    let desk = Desk::new();
    desk.write("code/package/a.py", "x = 1");
    let first = desk.hash();
    desk.write("elsewhere/a.py", "x = 3");
    assert_eq!(desk.hash(), first, "it lies elsewhere");
    desk.write("code/package/a.py", "x = 2");
    assert_ne!(desk.hash(), first);
    desk.write("code/package/a.py", "x = 1");
    assert_eq!(desk.hash(), first);
    desk.write("code/b.py", "");
    assert_ne!(desk.hash(), first);
}

#[test]
fn whatever_lies_beside_the_code_is_part_of_it() {
    let desk = Desk::new();
    desk.write("code/package/a.py", "");
    let mut before = desk.hash();
    for name in ["native.so", "settings.toml", "package/weights.json", ".env", "no_ending", "data.csv"] {
        for content in ["1", "2"] {
            desk.write(&format!("code/{name}"), content);
            let now = desk.hash();
            assert_ne!(now, before, "{name}");
            before = now;
        }
    }
}

#[test]
fn links_are_followed_and_one_that_leads_back_is_no_new_directory() {
    let desk = Desk::new();
    desk.write("code/a.py", "");
    desk.write("library/inner/b.py", "x = 1");
    symlink(desk.scratch.join("library"), desk.code.join("library")).unwrap();
    symlink(&desk.code, desk.code.join("package/back")).unwrap();
    symlink(desk.code.join("itself"), desk.code.join("itself")).unwrap();
    symlink("nowhere", desk.code.join("broken")).unwrap();
    let first = desk.hash();
    let code = desk.look();
    assert_eq!(code.change(), None);
    desk.write("library/inner/b.py", "x = 2");
    assert_ne!(desk.hash(), first);
    let changed = Unknown::Changed { path: desk.code.join("library/inner/b.py") };
    assert_eq!((code.change(), code.hash()), (Some(changed.clone()), Err(changed)));
}

#[test]
fn a_pipe_with_the_name_of_a_module_holds_nothing_up() {
    let desk = Desk::new();
    desk.write("code/a.py", "");
    nix::unistd::mkfifo(&desk.code.join("x.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let code = desk.look();
    code.hash().unwrap();
    // One that takes the place of a file that was seen.
    std::fs::remove_file(desk.code.join("a.py")).unwrap();
    nix::unistd::mkfifo(&desk.code.join("a.py"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(code.hash(), Err(Unknown::Changed { path: desk.code.join("a.py") }));
}

#[test]
fn bytecode_environments_caches_and_what_the_worker_itself_writes_are_passed_over() {
    let desk = Desk::new();
    desk.write("code/a.py", "");
    std::fs::create_dir_all(desk.code.join("data")).unwrap();
    let own = [desk.code.join("data"), desk.code.join("work")];
    let look = || Code::look(std::slice::from_ref(&desk.code), &own);
    let (code, first) = (look(), look().hash().unwrap());
    for name in [
        "__pycache__/a.cpython-312.pyc",
        ".git/index",
        "environment/pyvenv.cfg",
        "environment/lib/b.py",
        ".mypy_cache/CACHEDIR.TAG",
        "data/results/db",
        "work/worker-1/0/file",
    ] {
        desk.write(&format!("code/{name}"), "x");
    }
    assert_eq!((code.change(), look().hash().unwrap()), (None, first));
}

#[test]
fn what_cannot_be_known_is_not() {
    let desk = Desk::new();
    assert_eq!(Code::look(&[], &[]).hash(), Err(Unknown::Nothing), "no directory is named");
    assert_eq!(desk.look().hash(), Err(Unknown::Nothing), "there is nothing in it");
    let nowhere = desk.scratch.join("nowhere");
    assert_eq!(Code::look(&[nowhere], &[]).hash(), Err(Unknown::Nothing));

    std::fs::File::create(desk.code.join("large.bin")).unwrap().set_len(MAX_BYTES + 1).unwrap();
    assert_eq!(desk.look().hash(), Err(Unknown::TooLarge { bytes: MAX_BYTES }));
    std::fs::remove_file(desk.code.join("large.bin")).unwrap();
    let deep = desk.code.join(vec!["d"; 40].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    desk.write("code/a.py", "");
    assert!(matches!(desk.look().hash(), Err(Unknown::TooDeep { .. })));
    std::fs::remove_dir_all(desk.code.join("d")).unwrap();
    (0..5_001).for_each(|number| desk.write(&format!("code/many/{number}"), ""));
    assert_eq!(desk.look().hash(), Err(Unknown::TooMany { files: 5_000 }));
}

#[test]
fn the_file_that_changed_came_or_went_is_named() {
    let desk = Desk::new();
    for name in ["a.py", "b.py", "c.py"] {
        desk.write(&format!("code/{name}"), "");
    }
    let code = desk.look();
    let changed = |name: &str| Some(Unknown::Changed { path: desk.code.join(name) });
    assert_eq!(code.change(), None);
    desk.write("code/aa.py", "");
    assert_eq!(code.change(), changed("aa.py"));
    std::fs::remove_file(desk.code.join("aa.py")).unwrap();
    assert_eq!(code.change(), None);
    desk.write("code/z.py", "");
    assert_eq!(code.change(), changed("z.py"));
    std::fs::remove_file(desk.code.join("z.py")).unwrap();
    std::fs::remove_file(desk.code.join("b.py")).unwrap();
    assert_eq!(code.change(), changed("b.py"));
    desk.write("code/b.py", "");
    assert_eq!(code.change(), changed("b.py"), "another file of the same name and content");
}

#[test]
fn the_order_of_the_directories_is_that_of_imports() {
    let desk = Desk::new();
    desk.write("code/a.py", "x = 1");
    desk.write("other/a.py", "x = 2");
    let (one, other) = (desk.code.clone(), desk.scratch.join("other"));
    let hash = |directories: &[&PathBuf]| {
        let directories: Vec<PathBuf> = directories.iter().map(|path| (*path).clone()).collect();
        Code::look(&directories, &[]).hash().unwrap()
    };
    assert_ne!(hash(&[&one, &other]), hash(&[&other, &one]));
}

#[test]
fn a_file_is_held_under_every_name_it_has() {
    let desk = Desk::new();
    desk.write("code/a.py", "");
    desk.write("elsewhere/b.py", "");
    let code = desk.look();
    assert!(code.holds(&desk.code.join("../code/a.py")));
    assert!(!code.holds(&desk.scratch.join("elsewhere/b.py")) && !code.holds(Path::new("nowhere.py")));
}
