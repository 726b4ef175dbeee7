# Passes descriptors with IO::FDPass over descriptor 3, and prints what each is, a line each.
#
#   perl io-fdpass.pl receive|send COUNT
use strict;
use warnings;
use IO::FDPass;

my $SOCKET = 3;
my ($role, $count) = @ARGV;

sub identity {
  my ($device, $inode) = stat $_[0] or die "stat: $!";
  return "$device:$inode\n";
}

if ($role eq 'receive') {
  for (1 .. $count) {
    my $fd = IO::FDPass::recv $SOCKET;
    $fd >= 0 or die "recv: $!";
    open my $file, '+<&=', $fd or die "open: $!";
    print identity($file);
  }
} else {
  for (1 .. $count) {
    open my $file, '+>', undef or die "open: $!";
    print identity($file);
    IO::FDPass::send $SOCKET, fileno $file or die "send: $!";
  }
}
