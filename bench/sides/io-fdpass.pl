# Perl's IO::FDPass, which blocks: `send`, `receive`.
use strict;
use warnings;
use IO::FDPass;
use POSIX ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC CLOCK_PROCESS_CPUTIME_ID);

my $mode = shift;
my $null = POSIX::open('/dev/null', POSIX::O_RDONLY());
$| = 1;

while (my $line = <STDIN>) {
    my $total = $line + 0;
    my $before = clock_gettime(CLOCK_PROCESS_CPUTIME_ID);
    my $begin = clock_gettime(CLOCK_MONOTONIC);
    print "ready\n" if $mode eq 'receive';
    for (1 .. $total) {
        if ($mode eq 'send') {
            IO::FDPass::send(3, $null) or die "send: $!";
        }
        else {
            my $fd = IO::FDPass::recv(3);
            $fd >= 0 or die "recv: $!";
            POSIX::close($fd);
        }
    }
    my $end = clock_gettime(CLOCK_MONOTONIC);
    my $cpu = clock_gettime(CLOCK_PROCESS_CPUTIME_ID) - $before;
    open my $status, '<', '/proc/self/status' or die $!;
    my ($peak) = map { /^VmHWM:\s+(\d+)/ ? $1 * 1024 : () } <$status>;
    printf qq({"begin":%.0f,"end":%.0f,"cpu":%.0f,"peak":%d}\n), $begin * 1e9, $end * 1e9, $cpu * 1e9, $peak;
}
