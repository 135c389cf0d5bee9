//! Components that are small as files and large to whoever reads them, byte by
//! byte as the binary format has them.

/// An unsigned LEB128 number.
fn leb(mut n: usize, out: &mut Vec<u8>) {
    loop {
        let low = (n & 0x7f) as u8;
        n >>= 7;
        out.push(if n == 0 { low } else { low | 0x80 });
        if n == 0 {
            return;
        }
    }
}

fn section(id: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(id);
    leb(content.len(), out);
    out.extend_from_slice(content);
}

/// A core module with one function of `n` loops and `n` locals: valid, a few
/// bytes a loop, and quadratic in a compiler.
#[must_use]
pub fn loops(n: usize) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    section(3, &[1, 0], &mut module);
    // One group of n locals of type i32.
    let mut body = vec![1];
    leb(n, &mut body);
    body.push(0x7f);
    for local in 0..n {
        // loop; local.get; i32.const 1; i32.add; local.tee; br_if 0; end
        body.extend([0x03, 0x40, 0x20]);
        leb(local, &mut body);
        body.extend([0x41, 1, 0x6a, 0x22]);
        leb(local, &mut body);
        body.extend([0x0d, 0, 0x0b]);
    }
    body.push(0x0b);
    let mut code = vec![1];
    leb(body.len(), &mut code);
    code.extend(body);
    section(10, &code, &mut module);
    module
}

/// A component with one more core module in it, which it never uses.
#[must_use]
pub fn with_module(mut component: Vec<u8>, module: &[u8]) -> Vec<u8> {
    section(1, module, &mut component);
    component
}

/// A component that holds the type of a component that holds the type of a
/// component, `depth` deep: three bytes a level, and a frame of the stack of
/// whoever decodes it.
#[must_use]
pub fn nested_types(depth: usize) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    let mut types = vec![1];
    for _ in 0..depth {
        types.extend([0x41, 1, 1]);
    }
    types.extend([0x70, 0x7d]);
    section(7, &types, &mut component);
    component
}

/// A component whose one import is a function that takes a list of a list of
/// a list, `depth` deep.
#[must_use]
pub fn deep_types(depth: usize) -> Vec<u8> {
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    let mut types = Vec::new();
    leb(depth + 1, &mut types);
    types.extend([0x70, 0x7d]);
    for inner in 0..depth - 1 {
        types.push(0x70);
        // A signed number: one bit more than an unsigned one.
        let mut n = inner;
        while n >= 64 {
            types.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        types.push(n as u8);
    }
    types.extend([0x40, 1, 1, b'a']);
    let mut n = depth - 1;
    while n >= 64 {
        types.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    types.extend([n as u8, 1, 0]);
    section(7, &types, &mut component);
    let mut imports = vec![1, 0, 1, b'f', 1];
    leb(depth, &mut imports);
    section(10, &imports, &mut component);
    component
}

/// How many core modules a component has.
fn modules(component: &[u8]) -> usize {
    let (mut at, mut count) = (8, 0);
    while at < component.len() {
        let id = component[at];
        at += 1;
        let (mut size, mut shift) = (0_usize, 0);
        loop {
            let byte = component[at];
            at += 1;
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        count += usize::from(id == 1);
        at += size;
    }
    count
}

/// A component with so many instances of one more core module, which live
/// beside its own and are started with it.
#[must_use]
pub fn with_instances(component: Vec<u8>, module: &[u8], n: usize) -> Vec<u8> {
    let index = modules(&component);
    let mut component = with_module(component, module);
    let mut instances = Vec::new();
    leb(n, &mut instances);
    for _ in 0..n {
        instances.push(0);
        leb(index, &mut instances);
        instances.push(0);
    }
    section(2, &instances, &mut component);
    component
}

/// A core module with a memory of so many pages of 64 KiB.
#[must_use]
pub fn memory(pages: usize) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let mut memories = vec![1, 0];
    leb(pages, &mut memories);
    section(5, &memories, &mut module);
    module
}

/// A core module whose table grows by a thousand elements until it is refused;
/// it traps where that took it beyond `most` elements.
#[must_use]
pub fn table(most: usize) -> Vec<u8> {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(1, &[1, 0x60, 0, 0], &mut module);
    section(3, &[1, 0], &mut module);
    // One table of functions without a maximum.
    section(4, &[1, 0x70, 0, 0], &mut module);
    section(8, &[0], &mut module);
    let mut body = vec![0];
    // loop; ref.null func; i32.const 1000; table.grow 0; i32.const -1; i32.ne; br_if 0; end
    body.extend([0x03, 0x40, 0xd0, 0x70, 0x41]);
    body.extend([0xe8, 0x07]);
    body.extend([0xfc, 0x0f, 0, 0x41, 0x7f, 0x47, 0x0d, 0, 0x0b]);
    // table.size 0; i32.const most; i32.gt_u; if; unreachable; end; end
    body.extend([0xfc, 0x10, 0, 0x41]);
    let mut n = most;
    while n >= 64 {
        body.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    body.push(n as u8);
    body.extend([0x4b, 0x04, 0x40, 0, 0x0b, 0x0b]);
    let mut code = vec![1];
    leb(body.len(), &mut code);
    code.extend(body);
    section(10, &code, &mut module);
    module
}
