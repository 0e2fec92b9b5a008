#!/usr/bin/perl
# Stands in for the Perl program on a test machine: blocks three addresses as its versions did, in a chain or, if its
# configuration has a section [ipset], in a set; has a console; and lets everybody go when it is told to end.
use strict;
use warnings;
use IO::Socket::INET;

my @blocked = map { "203.0.113.$_" } 1 .. 3;
open my $config, '<', '/etc/sipban.conf' or die "no configuration: $!";
my $uses_set = grep { /^\[ipset\]/ } <$config>;

sub call { system(@_) == 0 or warn "@_ failed" }

sub start {
    if ($uses_set) {
        call(qw(ipset create sipban hash:ip timeout 604800));
        call(qw(iptables -I INPUT -i pbx -m set --match-set sipban src -j DROP));
        call('ipset', 'add', 'sipban', $_) for @blocked;
    }
    else {
        call(qw(iptables -N sipban-udp));
        call(qw(iptables -I INPUT 1 -p udp --dport 5060 -j sipban-udp));
        call('iptables', '-A', 'sipban-udp', '-s', $_, '-j', 'DROP') for @blocked;
        call(qw(iptables -A sipban-udp -j RETURN));
    }
}

sub end {
    if ($uses_set) {
        call(qw(iptables -D INPUT 1));
        call(qw(ipset destroy sipban));
    }
    else {
        call(qw(iptables -D INPUT 1));
        call(qw(iptables -F sipban-udp));
        call(qw(iptables -X sipban-udp));
    }
    exit 0;
}

exit 0 if @ARGV && $ARGV[0] eq '-d' && fork;
start();
$SIG{INT} = $SIG{TERM} = $SIG{HUP} = \&end;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 4451, Listen => 1, ReuseAddr => 1)
    or die "no console: $@";
while (1) {
    my $client = $server->accept or next;
    print $client join("\n", @blocked), "\nsipban>";
    close $client;
}
