//! A component, but no connector.

wit_bindgen::generate!({
    inline: "
        package test:greeter@1.0.0;
        interface greet { greet: func() -> string; }
        world greeter { export greet; }
    ",
});

struct Greeter;

impl exports::test::greeter::greet::Guest for Greeter {
    fn greet() -> String {
        "hello".into()
    }
}

export!(Greeter);
