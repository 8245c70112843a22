//! The firmware's variables, as OVMF keeps them in its second flash chip: a store of
//! records one after another, in the layout of EDK II (`VariableFormat.h`).

/// Of systemd-boot's variables (its "Boot Loader Interface").
pub const LOADER: [u8; 16] = guid(
    0x4a67_b082,
    0x0a4c,
    0x41cf,
    *b"\xb6\xc7\x44\x0b\x29\xbb\x8c\x4f",
);
/// Of a store whose records may be authenticated.
const STORE: [u8; 16] = guid(
    0xaaf3_2c78,
    0x947b,
    0x439a,
    *b"\xa1\x80\x2e\x14\x4e\xc3\x77\x92",
);

/// A record begins so.
const BEGIN: u16 = 0x55aa;
/// The state of a record that counts.
const ADDED: u8 = 0x3f;
/// A record without its name and its data.
const HEADER: usize = 60;
/// The store's own header.
const STORE_HEADER: usize = 28;

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let ([a0, a1, a2, a3], [b0, b1], [c0, c1]) =
        (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    [
        a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, d2, d3, d4, d5, d6, d7,
    ]
}

/// The chip's content.
pub struct Store(pub Vec<u8>);

impl Store {
    /// Where the records begin.
    fn start(&self) -> usize {
        let at = self.0.windows(16).position(|w| w == STORE);
        at.expect("a store of variables") + STORE_HEADER
    }

    fn u32(&self, at: usize) -> usize {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap()) as usize
    }

    /// Where each record is, and where the free space begins.
    fn records(&self) -> (Vec<usize>, usize) {
        let (mut records, mut at) = (Vec::new(), self.start());
        while self.0[at..at + 2] == BEGIN.to_le_bytes() {
            records.push(at);
            let len = HEADER + self.u32(at + 36) + self.u32(at + 40);
            at += len.next_multiple_of(4);
        }
        (records, at)
    }

    /// Adds a variable of systemd-boot, kept without power.
    pub fn add(&mut self, name: &str, data: &[u8]) {
        let (_, at) = self.records();
        let name: Vec<u8> = name
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        let mut record = BEGIN.to_le_bytes().to_vec();
        record.extend([ADDED, 0]);
        record.extend(7u32.to_le_bytes());
        // Neither counted, timed nor signed.
        record.extend([0; 8 + 16 + 4]);
        record.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        record.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
        record.extend(LOADER);
        record.extend(name);
        record.extend(data);
        self.0[at..at + record.len()].copy_from_slice(&record);
    }

    /// What a variable of systemd-boot holds.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let name: Vec<u8> = name
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        self.records().0.into_iter().find_map(|at| {
            let from = at + HEADER;
            let named = from + self.u32(at + 36);
            let same = self.0[at + 2] == ADDED
                && self.0[at + 44..at + HEADER] == LOADER
                && self.0[from..named] == name;
            same.then(|| &self.0[named..named + self.u32(at + 40)])
        })
    }
}
