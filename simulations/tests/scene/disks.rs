//! Disks that go back, as acts of a play: what was under way is lost with them.

use super::Scene;
use pannier_replica::store::memory::{InDoubt, MemoryDisk};

impl Scene {
    /// The disk goes back to when it was empty, and the replica starts from that.
    pub fn restore_empty_disk(&self, replica: usize) {
        self.crash(replica, 0);
        self.places.borrow_mut()[replica].disk = MemoryDisk::new();
        self.said.borrow_mut().clear();
        self.start(replica);
    }

    /// A snapshot of a replica's machine, taken while it runs.
    pub fn image(&self, replica: usize) -> MemoryDisk {
        let disk = self.places.borrow()[replica].up.as_ref().unwrap().store.fork().disk().clone();
        disk.crash(InDoubt::EVERYTHING);
        disk
    }

    /// The machine goes back to a snapshot, and the replica starts from that.
    pub fn restore(&self, replica: usize, image: MemoryDisk) {
        self.put_back(replica, image, false);
    }

    /// As `restore`, of a directory that is marked or not. What was under way is lost.
    pub fn put_back(&self, replica: usize, image: MemoryDisk, marked: bool) {
        self.crash(replica, 0);
        {
            let place = &mut self.places.borrow_mut()[replica];
            (place.disk, place.marked) = (image, marked);
        }
        self.said.borrow_mut().clear();
        self.start(replica);
    }

    /// As `restore`, and it goes on under the name of the start before: the rule that is broken.
    pub fn restore_under_its_name(&self, replica: usize, image: MemoryDisk) {
        self.places.borrow_mut()[replica].starts -= 1;
        self.restore(replica, image);
    }
}
