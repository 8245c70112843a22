//! A kernel that GRUB loads and that tells on the serial port what it was
//! started with: its label and its command line.

/// What it does then.
#[derive(Debug, Clone, Copy)]
pub enum Ending {
    /// Ends QEMU, through its debug exit device.
    Exit,
    /// Restarts the machine, as a kernel with `panic=` does.
    Reset,
}

/// Prints the string at `ebx` to the first serial port.
const PUTS: [u8; 27] = [
    0x8a, 0x03, // puts: mov al, [ebx]
    0x84, 0xc0, // test al, al
    0x74, 0x15, // jz ret
    0x43, // inc ebx
    0x88, 0xc4, // mov ah, al
    0x66, 0xba, 0xfd, 0x03, // mov dx, 0x3fd
    0xec, // wait: in al, dx
    0xa8, 0x20, // test al, 0x20
    0x74, 0xfb, // jz wait
    0x88, 0xe0, // mov al, ah
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xee, // out dx, al
    0xeb, 0xe5, // jmp puts
];
const RET: u8 = 0xc3;

/// The image, in the form of Linux' boot protocol 2.06 for x86.
pub fn image(label: &str, ending: Ending) -> Vec<u8> {
    let mut setup = vec![0u8; 1024];
    setup[0x1f1] = 1; // one sector of setup after the first
    setup[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    setup[0x200..0x202].copy_from_slice(&[0xeb, 0x66]);
    setup[0x202..0x206].copy_from_slice(b"HdrS");
    setup[0x206..0x208].copy_from_slice(&0x0206u16.to_le_bytes());
    setup[0x211] = 1; // loaded high
    setup[0x214..0x218].copy_from_slice(&0x0010_0000u32.to_le_bytes());
    setup[0x22c..0x230].copy_from_slice(&0x37ff_ffffu32.to_le_bytes());
    setup[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
    setup.extend(code(label, ending));
    // Enough of it that flipping and cutting means something.
    setup.resize(64 << 10, 0x90);
    setup
}

/// Started by the 32-bit protocol: `esi` points to the boot parameters, where
/// the command line's address is at 0x228.
fn code(label: &str, ending: Ending) -> Vec<u8> {
    let end: &[u8] = match ending {
        Ending::Exit => &[0x66, 0xba, 0xf4, 0x00, 0x31, 0xc0, 0xef, 0xf4, 0xeb, 0xfd],
        Ending::Reset => &[0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd],
    };
    let puts = 39 + end.len();
    let text = puts + PUTS.len() + 1;
    let newline = text + label.len() + 1;
    let mut code = vec![0xe8, 0, 0, 0, 0, 0x5f]; // call next; next: pop edi
    let call_puts = |code: &mut Vec<u8>| {
        code.push(0xe8);
        let from = i32::try_from(code.len() + 4).unwrap();
        code.extend((i32::try_from(puts).unwrap() - from).to_le_bytes());
    };
    let print = |code: &mut Vec<u8>, at: usize| {
        code.extend([0x8d, 0x9f]); // lea ebx, [edi + at - 5]
        code.extend((u32::try_from(at).unwrap() - 5).to_le_bytes());
        call_puts(code);
    };
    print(&mut code, text);
    code.extend([0x8b, 0x9e, 0x28, 0x02, 0, 0]); // mov ebx, [esi + 0x228]
    call_puts(&mut code);
    print(&mut code, newline);
    assert_eq!(code.len(), 39);
    code.extend(end);
    code.extend(PUTS);
    code.push(RET);
    code.extend(label.bytes());
    code.extend(b"\0\r\n\0");
    code
}
