//! .NET: `Exception.ToString`, and the console logger's entries.

use super::State::{Begin, Details, Entry, Frames, Gap, Head, Location, Message, Over, Plain};
use super::{EMPTY, LOG_LINE, Rule};

pub(super) const RULES: &[Rule] = &[
    EMPTY,
    // The console logger indents all lines but the first by six.
    (&[Begin], r"^(?:trce|dbug|info|warn|fail|crit): ", Entry),
    (&[Entry], r"^ {6}", Entry),
    (&[Begin], r"^Unhandled [Ee]xception[.:] ?\S|^(?:Process terminated|Fatal error)\.", Head),
    (&[Begin], r"^Unhandled Exception:$", Location),
    // One that follows another without frames is an error of its own, hence not from Head.
    (
        &[Begin, Location, Plain],
        r"^(?:[A-Za-z_][\w`+]*\.)+[\w`+]*(?:Exception|Error)[\w`+]*(?:\[.*\])?(?: \([^)]*\))?(?::|$)",
        Head,
    ),
    (&[Plain, Head, Message, Frames, Details], r"^[ \t]+at \S", Frames),
    (&[Plain, Head, Message, Frames], r"^[ \t]*---> ", Head),
    (&[Head, Message, Frames, Details], r"^[ \t]*--- End of (?:inner exception )?stack trace", Frames),
    // A stack that has overflowed.
    (&[Frames], r"^Repeat \d+ times:$|^-{32}$", Frames),
    // What exceptions of databases append.
    (&[Frames], r"^(?:ClientConnectionId:|Error Number:)", Frames),
    (&[Frames], r"^ +Exception data:$", Details),
    (&[Details], r"^ {4}", Details),
    // Between the exceptions of an AggregateException.
    (&[Frames], r"^$", Gap),
    (&[Gap], r"^[ \t]*---> \(Inner Exception #", Head),
    (&[Head, Message], LOG_LINE, Over),
    (&[Head, Message], r"(?:Exception|Error)(?:: |$)", Over),
    (&[Head, Message], "", Message),
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::config::Preset::DotNet;

    const BEFORE: &str = "2026-11-21 12:18:53.120 [INF] order 4711 accepted";
    const AFTER: &str = "2026-11-21 12:18:54.007 [WRN] 2 items left";

    #[test]
    fn the_line_of_the_log_and_its_trace() {
        check(
            DotNet,
            &[
                BEFORE,
                "2026-11-21 12:18:53.300 [ERR] order 4712 failed
System.InvalidOperationException: basket is closed
 ---> System.Net.Sockets.SocketException (111): Connection refused
   at Shop.Stock.<Count>d__7.MoveNext() in /srv/shop/Stock.cs:line 41
--- End of stack trace from previous location ---
   at System.Runtime.CompilerServices.TaskAwaiter.GetResult()
   --- End of inner exception stack trace ---
   at Shop.Checkout.Place(Order order) in /srv/shop/Checkout.cs:line 9",
                AFTER,
                "Unhandled exception. System.ArgumentNullException: Value cannot be null.
Parameter name: basket
   at Shop.Program.Main(String[] args)",
                "System.TimeoutException: too late",
                "System.TimeoutException: too late",
                BEFORE,
            ],
        );
    }

    #[test]
    fn several_inner_exceptions() {
        check(
            DotNet,
            &[
                "System.AggregateException: One or more errors occurred. (one) (two)
 ---> System.Exception: one
   at Shop.A() in /srv/a.cs:line 1
   --- End of inner exception stack trace ---
   at Shop.Main() in /srv/a.cs:line 3
 ---> (Inner Exception #0) System.Exception: one
   at Shop.A() in /srv/a.cs:line 1<---

 ---> (Inner Exception #1) System.Collections.Generic.KeyNotFoundException`1[System.String]: two
   at Shop.B() in /srv/a.cs:line 2<---",
                "",
                AFTER,
            ],
        );
    }

    #[test]
    fn the_entries_of_the_console_logger() {
        check(
            DotNet,
            &[
                "info: Microsoft.Hosting.Lifetime[14]\n      Now listening on: http://[::]:8080",
                "fail: Microsoft.AspNetCore.Server.Kestrel[13]
      Connection id \"0HN7\": An unhandled exception was thrown by the application.
      System.InvalidOperationException: basket is closed
         at Shop.Checkout.Place(Order order) in /srv/shop/Checkout.cs:line 9",
                "info: Microsoft.Hosting.Lifetime[0]\n      Application is shutting down...",
                "bye",
            ],
        );
    }

    #[test]
    fn what_else_stands_below_a_trace() {
        check(
            DotNet,
            &[
                "Microsoft.Data.SqlClient.SqlException (0x80131904): Login failed.
   at Microsoft.Data.SqlClient.SqlInternalConnection.OnError()
ClientConnectionId:9f1c
Error Number:4060,State:1,Class:11",
                "Npgsql.PostgresException (0x80004005): 23505: duplicate key value
   at Npgsql.Internal.NpgsqlConnector.ReadMessage()
  Exception data:
    Severity: ERROR
    SqlState: 23505",
                "2026-11-21 12:18:53.300 [ERR] not stored: Shop.StoreException: outer
 ---> Npgsql.PostgresException (0x80004005): 23505: duplicate key value

DETAIL: Key (id)=(1) already exists.
   at Npgsql.Internal.NpgsqlConnector.ReadMessage()
  Exception data:
    Severity: ERROR
   --- End of inner exception stack trace ---
   at Shop.Store.Put()",
                "Shop.StoreException: outer
 ---> System.Exception: never thrown
   --- End of inner exception stack trace ---
   at Shop.Store.Put()",
                "Unhandled Exception:\nSystem.Exception: no\n  at Shop.Main () [0x00000] in <1f>:0 ",
                "Stack overflow.
   at Shop.A()
Repeat 11585 times:
--------------------------------
   at Shop.B()
--------------------------------
   at Shop.Main()",
                AFTER,
            ],
        );
    }
}
