//! Go: panics and fatal errors with the stacks of goroutines, and the frames that error and logging libraries write.

use super::State::{Begin, Call, Details, End, Frames, Gap, Head, Plain, Prelude};
use super::{EMPTY, Rule};

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    (&[Begin, Prelude], r"^(?:panic|fatal error): ", Head),
    (&[Begin, Prelude], r"^(?:runtime: |unexpected fault address |SIG[A-Z]+: |PC=)", Prelude),
    (&[Prelude], r"^$", Gap),
    // Panics while panicking, and messages of several lines, are indented.
    (&[Head], r"^[ \t]|^\[signal |^running tests:$", Head),
    (&[Head, Frames], r"^$", Gap),
    (&[Begin, Plain, Head, Gap], r"^(?:goroutine \d+ .*\[.+\]:|runtime stack:)$", Frames),
    (&[Frames], r"^[A-Za-z_]\S*\(.*\)$|^created by \S", Call),
    (&[Frames, Plain], r"^[A-Za-z_][^\s:=]*\.[^\s:=]+$", Call),
    (&[Call], r"^[ \t]+\S.*:\d+(?: |$)", Frames),
    (&[Frames], r"^\tgoroutine running on other thread|^\.\.\.(?:additional|\d+) frames elided\.\.\.$", Frames),
    // The registers, where the signal came from outside.
    (&[Gap, Details], r"^[a-z]\w{1,6} +0x[0-9a-f]+$", Details),
    // Written by `go run` and `go test`.
    (&[Head, Gap, Frames, Details], r"^exit status \d+$", End),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::Go;

    const BEFORE: &str = "2026/11/21 12:18:53 order 4711 accepted";
    const AFTER: &str = "2026/11/21 12:18:54 2 items left";

    #[test]
    fn panics() {
        check(
            Go,
            &[
                BEFORE,
                "panic: runtime error: index out of range [5] with length 3 [recovered]
\tpanic: cannot go on

goroutine 1 [running]:
panic({0x45a0e0?, 0x48c1f8?})
\t/usr/local/go/src/runtime/panic.go:1038 +0x215
main.(*Basket[...]).add(0xc00001c0a8, {0x4b2f10, 0x3})
\t/srv/shop/basket.go:41 +0x1d
...additional frames elided...
main.glob..func1(...)
\t/srv/shop/main.go:9
created by main.main in goroutine 1
\t/srv/shop/main.go:7 +0x25

goroutine 18 gp=0xc000102c40 m=nil [chan receive, 2 minutes, locked to thread]:
\tgoroutine running on other thread; stack unavailable
created by github.com/example/pool%2ev2.Start
\t/srv/shop/pool.go:12 +0x88
exit status 2",
                AFTER,
                "panic: main.Closed{Basket:7}
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47b2c1]

goroutine 1 [running]:
main.main()
\t/srv/shop/main.go:5 +0x1",
                "",
                "panic: no\nexit status 2",
                "goroutine 7 [running]:
runtime/debug.Stack()
\t/usr/local/go/src/runtime/debug/stack.go:26 +0x5e",
                "start(now)",
                AFTER,
            ],
        );
    }

    #[test]
    fn a_server_that_goes_on() {
        check(
            Go,
            &[
                BEFORE,
                "2026/11/21 12:18:53 http: panic serving 10.0.0.7:51312: basket is closed
goroutine 34 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1903 +0xbe
created by net/http.(*Server).Serve
\t/usr/local/go/src/net/http/server.go:3285 +0x4b4",
                AFTER,
            ],
        );
    }

    #[test]
    fn fatal_errors() {
        check(
            Go,
            &[
                BEFORE,
                "fatal error: all goroutines are asleep - deadlock!

goroutine 1 [chan receive (nil chan)]:
main.main()
\t/srv/shop/main.go:5 +0x1
exit status 2",
                "runtime: goroutine stack exceeds 1000000000-byte limit
runtime: sp=0xc0200e0390 stack=[0xc0200e0000, 0xc0400e0000]
fatal error: stack overflow

runtime stack:
runtime.throw({0x46b2d5?, 0x0?})
\t/usr/local/go/src/runtime/panic.go:1047 +0x5d fp=0x7ffd sp=0x7ffc pc=0x43

goroutine 1 [running]:
main.f(0x1)
\t/srv/shop/main.go:3 +0x3a
...99 frames elided...",
                "SIGQUIT: quit
PC=0x45e1a1 m=0 sigcode=0

goroutine 0 [idle]:
runtime.futex()
\t/usr/local/go/src/runtime/sys_linux_amd64.s:557 +0x21

rax    0xca
rflags 0x286
cs     0x33
exit status 2",
                "runtime: cannot allocate",
                "runtime: cannot allocate",
                BEFORE,
                "panic: test timed out after 1s
running tests:
\tTestCheckout (1s)

goroutine 7 [running]:
testing.(*M).startAlarm.func1()
\t/usr/local/go/src/testing/testing.go:2366 +0x385",
            ],
        );
    }

    #[test]
    fn frames_that_libraries_write() {
        check(
            Go,
            &[
                BEFORE,
                "2026-11-21T12:18:53.120Z\tERROR\tshop/main.go:9\torder 4712 failed\t{\"error\": \"no\"}
main.place
\t/srv/shop/main.go:9
main.(*Basket).add
\t/srv/shop/basket.go:41
runtime.goexit
\t/usr/local/go/src/runtime/asm_amd64.s:1650",
                "example.com",
                "example.com",
                AFTER,
            ],
        );
    }
}
