//! Disks that can fail: a small one that can be filled, and one whose machine can lose its power.
//!
//! **Full.** A tmpfs. To be full it is made as small as what it holds, and the rest is taken by a
//! ballast file, up to a spare corner that the story draws: so the write that finds no room is now
//! this one, now that.
//!
//! **Power.** An ext4 on an image file, by a loop device. What its file system has handed to the
//! device stands in the image; what it still holds in memory (pages not written back, a journal
//! not committed) does not. So at the cut the replica is killed, the image is copied as it stands,
//! past the file system that is mounted from it, and the copy takes its place: mounting it replays
//! the journal, as after a real cut. The copy is good only if the device was idle from before it
//! until after it, which its own counters tell; else it is made again.
//!
//! That is honest about a file or a directory that nobody synced, and shows nothing of three other
//! things: a sync that was under way is finished by the kernel before the process is gone; the
//! device has no cache of its own that forgets; a sector is never torn. Those are the business of
//! the engine in memory and of `crates/replica/tests/sled_disk/mod.rs`.
//!
//! Either needs the right to mount. Where that is missing, the reason is told and nothing fails.

use crate::fail::Fail;
use crate::processes::Keeper;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Bytes of one step of a copy or a ballast.
const STEP: usize = 1 << 20;
/// Copies of an image that are made before it is given up: the device is idle within moments.
const COPIES: usize = 200;
/// Between two of them.
const IDLE: Duration = Duration::from_millis(20);

/// What a replica's directory lies on.
pub enum Disk {
    /// Whatever the temporary directory lies on.
    Plain,
    /// One that can be filled.
    Small(Small),
    /// One that can lose its power.
    Cut(Cuttable),
}

fn failed(path: &Path, error: impl std::fmt::Display) -> Fail {
    Fail::Storage(format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

const UNMOUNT: &str = "umount \"$1\" || umount -l \"$1\"";

/// See the file's head.
pub struct Small {
    at: PathBuf,
    bytes: u64,
    _mount: Keeper,
}

impl Small {
    /// A tmpfs at this folder, which is made; or why not.
    pub fn make(at: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let act = "mount -t tmpfs -o \"size=$2\" pannier-chaos \"$1\"";
        let mount = Keeper::hold("a tmpfs", act, UNMOUNT, &[text(at), bytes.to_string()])?;
        Ok(Self { at: at.to_owned(), bytes, _mount: mount })
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    fn resize(&self, bytes: u64) -> Result<bool, Fail> {
        let size = format!("remount,size={bytes}");
        let mut command = Command::new("mount");
        let done = command.args(["-o", &size]).arg(&self.at).output();
        Ok(done.map_err(|error| failed(&self.at, error))?.status.success())
    }

    /// Leaves so many bytes of room, or a page more.
    pub fn fill(&self, spare: u64) -> Result<(), Fail> {
        let mut bytes = 4 << 20;
        // Smaller than what it holds it cannot be made; what it holds grows meanwhile.
        while !self.resize(bytes)? {
            bytes *= 2;
            if bytes > self.bytes {
                return Err(failed(&self.at, "it cannot be made smaller"));
            }
        }
        let mut ballast = File::create(self.ballast()).map_err(|error| failed(&self.at, error))?;
        let mut len = 0;
        for step in [STEP, 4_096] {
            loop {
                match ballast.write(&vec![1; step]) {
                    Ok(0) => break,
                    Ok(written) => len += written as u64,
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(failed(&self.at, error)),
                }
            }
        }
        let kept = ballast.set_len(len.saturating_sub(spare));
        kept.map_err(|error| failed(&self.at, error))
    }

    /// Makes room again.
    pub fn free(&self) -> Result<(), Fail> {
        fs::remove_file(self.ballast()).map_err(|error| failed(&self.at, error))?;
        match self.resize(self.bytes)? {
            true => Ok(()),
            false => Err(failed(&self.at, "it cannot be made larger again")),
        }
    }
}

/// See the file's head.
pub struct Cuttable {
    at: PathBuf,
    image: PathBuf,
    cuts: u64,
    mount: Option<Keeper>,
}

impl Cuttable {
    /// An ext4 at this folder, which is made, from an image beside it; or why not.
    pub fn make(at: &Path, bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(at).map_err(|error| error.to_string())?;
        let image = at.with_extension("0.image");
        let made = File::create(&image).and_then(|file| file.set_len(bytes));
        made.map_err(|error| error.to_string())?;
        // Tables are written now: a thread that does it later keeps the device busy.
        let eager = "lazy_itable_init=0,lazy_journal_init=0";
        let mut mkfs = Command::new("mkfs.ext4");
        let made = mkfs.args(["-q", "-F", "-E", eager]).arg(&image).output();
        let made = made.map_err(|error| format!("mkfs.ext4: {error}"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).trim().replace('\n', "; ");
            return Err(format!("mkfs.ext4: {said}"));
        }
        let mount = Self::mount(&image, at)?;
        let disk = Self { at: at.to_owned(), image, cuts: 0, mount: Some(mount) };
        // Without the counters no copy could be trusted.
        disk.traffic().map_err(|fail| fail.to_string())?;
        Ok(disk)
    }

    fn mount(image: &Path, at: &Path) -> Result<Keeper, String> {
        let act = "mount -t ext4 -o loop \"$2\" \"$1\"";
        Keeper::hold("an ext4", act, UNMOUNT, &[text(at), text(image)])
    }

    /// What the device has been asked to write, and how much of it is under way.
    fn traffic(&self) -> Result<(Vec<u64>, u64), Fail> {
        let mounts = Path::new("/proc/self/mounts");
        let listed = fs::read_to_string(mounts).map_err(|error| failed(mounts, error))?;
        let at = text(&self.at).replace(' ', "\\040");
        let mut device = listed.lines().filter_map(|line| {
            let mut words = line.split(' ');
            let device = words.next()?.strip_prefix("/dev/")?;
            (words.next()? == at).then_some(device)
        });
        let device = device.next_back().ok_or_else(|| failed(mounts, "our mount is not there"))?;
        let path = PathBuf::from(format!("/sys/block/{device}/stat"));
        let counts = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
        let counts: Vec<u64> =
            counts.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Documentation/block/stat.rst: writes, sectors written, in flight, discards.
        let at = |number: usize| counts.get(number).copied().unwrap_or(0);
        if counts.len() < 11 {
            return Err(failed(&path, "it does not count what we need"));
        }
        Ok((vec![at(4), at(6), at(11)], at(8)))
    }

    /// Cuts the power. Nobody may have a file open there any more: they lost theirs, too.
    pub fn cut(&mut self) -> Result<(), Fail> {
        self.cuts += 1;
        let image = self.at.with_extension(format!("{}.image", self.cuts));
        let mut copied = false;
        for _ in 0..COPIES {
            let (before, under_way) = self.traffic()?;
            if under_way == 0 {
                copy(&self.image, &image)?;
                copied = self.traffic()? == (before, 0);
            }
            if copied {
                break;
            }
            // Nobody tells when a device falls idle.
            std::thread::park_timeout(IDLE);
        }
        if !copied {
            return Err(failed(&self.at, "the device is never idle"));
        }
        if let Some(mount) = self.mount.take() {
            mount.release()?;
        }
        fs::remove_file(&self.image).map_err(|error| failed(&self.image, error))?;
        self.image = image;
        let mount = Self::mount(&self.image, &self.at);
        self.mount = Some(mount.map_err(|why| failed(&self.at, why))?);
        Ok(())
    }
}

/// As it stands; holes stay holes.
fn copy(from: &Path, to: &Path) -> Result<(), Fail> {
    let copied = (|| {
        let (mut source, mut target) = (File::open(from)?, File::create(to)?);
        let (mut step, zeros) = (vec![0; STEP], vec![0; STEP]);
        let mut len = 0;
        loop {
            let read = source.read(&mut step)?;
            if read == 0 {
                return target.set_len(len);
            }
            if step[..read] != zeros[..read] {
                target.seek(SeekFrom::Start(len))?;
                target.write_all(&step[..read])?;
            }
            len += read as u64;
        }
    })();
    copied.map_err(|error: std::io::Error| failed(from, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        let mut bytes = vec![0; 5 * STEP + 17];
        bytes[3 * STEP + 5] = 7;
        bytes[5 * STEP + 16] = 9;
        fs::write(&from, &bytes).unwrap();
        copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), bytes);
    }

    /// Where the machine allows it: else there is nothing to be shown.
    #[test]
    fn a_cut_takes_what_was_not_synced_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("disk");
        let Ok(mut disk) = Cuttable::make(&at, 64 << 20) else { return };
        for round in 0..3 {
            let (kept, lost) = (format!("kept-{round}"), format!("lost-{round}"));
            fs::write(at.join(&kept), "kept").unwrap();
            File::open(at.join(&kept)).unwrap().sync_all().unwrap();
            File::open(&at).unwrap().sync_all().unwrap();
            fs::write(at.join(&lost), "lost").unwrap();
            disk.cut().unwrap();
            assert_eq!(fs::read_to_string(at.join(&kept)).unwrap(), "kept");
            assert_ne!(fs::read_to_string(at.join(&lost)).unwrap_or_default(), "lost");
        }
        drop(disk);
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0, "nothing is mounted any more");
    }

    #[test]
    fn a_full_disk_has_no_room_and_a_freed_one_has() {
        let root = tempfile::tempdir().unwrap();
        let at = root.path().join("disk");
        let Ok(disk) = Small::make(&at, 32 << 20) else { return };
        for spare in [0, 10_000] {
            disk.fill(spare).unwrap();
            let full = fs::write(at.join("more"), vec![1; 64 << 10]).map_err(|it| it.kind());
            assert_eq!(full, Err(ErrorKind::StorageFull));
            fs::remove_file(at.join("more")).unwrap();
            disk.free().unwrap();
            fs::write(at.join("more"), vec![1; 64 << 10]).unwrap();
            fs::remove_file(at.join("more")).unwrap();
        }
    }
}
