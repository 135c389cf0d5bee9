//! From a core module to a component, so that a plugin author needs no tool
//! but cargo and this program.

use anyhow::Context as _;

/// Encodes a core module built for `wasm32-unknown-unknown` with wit-bindgen.
/// The same module always gives the same bytes.
///
/// # Errors
/// When the bytes are no such module.
pub fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    if module.get(..8) != Some(b"\0asm\x01\0\0\0".as_slice()) {
        anyhow::bail!("the file is not a WebAssembly core module");
    }
    wit_component::ComponentEncoder::default()
        .module(module)
        .context("the module carries no component type; build it with wit-bindgen")?
        .validate(true)
        .encode()
        .context("the module does not fit the component type that it carries")
}
