//! Symlinks and folders that change places while files are read: nothing from outside gets out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};

const SWAPS: usize = 10_000;
const SECRET: &str = "from outside";
const INSIDE: &str = "from inside";

/// `public/` with pairs of names, one leading inside and one outside, that will be exchanged.
fn prepare(folder: &Path) {
    let (public, outside) = (folder.join("public"), folder.join("outside"));
    fs::create_dir_all(public.join("folder/deep")).unwrap();
    fs::create_dir_all(outside.join("deep")).unwrap();
    for file in ["page.txt", "deep/page.txt"] {
        fs::write(outside.join(file), SECRET).unwrap();
        fs::write(public.join("folder").join(file), INSIDE).unwrap();
    }
    fs::write(public.join("page.txt"), INSIDE).unwrap();
    symlink(&outside, public.join(".folder")).unwrap();
    symlink("../outside/page.txt", public.join(".page.txt")).unwrap();
    symlink("folder", public.join("link")).unwrap();
    symlink("../outside", public.join(".link")).unwrap();
}

/// Names in `public/`, each with the hidden one that it changes places with.
const PAIRS: [(&str, &str); 3] =
    [("folder", ".folder"), ("page.txt", ".page.txt"), ("link", ".link")];

/// What is read; each of these leads outside half of the time.
const PATHS: [&str; 4] =
    ["/page.txt", "/folder/page.txt", "/folder/deep/page.txt", "/link/deep/page.txt"];

fn exchange(public: &Path, (one, other): (&str, &str)) {
    renameat_with(CWD, public.join(one), CWD, public.join(other), RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn ten_thousand_swaps_let_nothing_out() {
    let setup = Setup::new();
    prepare(setup.folder());
    let gateway = setup.start(
        r#"
        [listener.main]
        address = "127.0.0.1:0"
        [[route]]
        path = "/*"
        static = "public"
        public = true
        "#,
    );
    let public = gateway.folder().join("public");
    for path in PATHS {
        assert_eq!(Client::tcp(gateway.address("main")).get(path, "").text(), INSIDE, "{path}");
    }
    for pair in PAIRS {
        exchange(&public, pair);
    }
    for path in PATHS {
        Client::tcp(gateway.address("main")).get(path, "").expect(404);
    }
    let (reads, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (inside, refused) = thread::scope(|scope| {
        let readers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| read_until(&gateway, &reads, &done))).collect();
        let failed = || readers.iter().any(thread::ScopedJoinHandle::is_finished);
        let mut swaps = 0;
        // As many as asked for, and more if the readers are slower than that.
        while (swaps < SWAPS || reads.load(Ordering::SeqCst) < SWAPS / 2) && !failed() {
            exchange(&public, PAIRS[swaps % PAIRS.len()]);
            swaps += 1;
        }
        done.store(true, Ordering::SeqCst);
        readers
            .into_iter()
            .map(|reader| reader.join().unwrap())
            .fold((0, 0), |sum, reader| (sum.0 + reader.0, sum.1 + reader.1))
    });
    assert_eq!(inside + refused, reads.load(Ordering::SeqCst));
}

/// Reads for as long as names are exchanged; how often it got the file, and how often nothing.
fn read_until(gateway: &Gateway, reads: &AtomicUsize, done: &AtomicBool) -> (usize, usize) {
    let mut client = Client::tcp(gateway.address("main"));
    let (mut inside, mut refused) = (0, 0);
    while !done.load(Ordering::SeqCst) {
        for path in PATHS {
            let response = client.get(path, "");
            match response.status {
                200 => {
                    assert_eq!(response.text(), INSIDE, "{path}");
                    inside += 1;
                }
                // 500: the kernel gave up after many renames within one look-up.
                status => {
                    assert!(matches!(status, 404 | 500), "{path}: {status}");
                    assert!(!response.text().contains(SECRET), "{path}");
                    refused += 1;
                }
            }
            reads.fetch_add(1, Ordering::SeqCst);
        }
    }
    (inside, refused)
}
