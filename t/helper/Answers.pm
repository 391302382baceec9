# Answers - measure what an upload-pack sends, one line of log per answer.
#
# Feed it the bytes that go from server to client; it follows the pkt-lines and
# appends "<label> <kind> <bytes>" to a log before the last byte of the answer
# is passed on, so that whoever has read the answer also finds the line.
#
# Kinds: "advertisement" (capabilities), "refs" (a ref list), "fetch" (all that
# answers a fetch: acknowledgments, shallow-info, the pack), "other".
# The format is gitprotocol-pack(5) and gitprotocol-v2(5). It changes no byte.

package Answers;
use strict;
use warnings;

sub new {
    my ($class, $log, $label) = @_;
    return bless {
        log => $log, label => $label,
        head => '', left => 0, first => '', bytes => 0, kind => undef,
        v0_refs_seen => 0, raw => 0,
    }, $class;
}

sub feed {
    my ($self, $data) = @_;
    my $at = 0;
    while ($at < length $data) {
        if ($self->{raw}) {
            $self->{bytes} += length($data) - $at;
            return;
        }
        if ($self->{left}) {
            my $take = length($data) - $at;
            $take = $self->{left} if $take > $self->{left};
            $self->{first} .= substr $data, $at, $take
                if !defined $self->{kind} && length $self->{first} < 65520;
            $self->{bytes} += $take;
            $self->{left} -= $take;
            $at += $take;
            $self->_packet_ends if !$self->{left};
            next;
        }
        my $need = 4 - length $self->{head};
        my $part = substr $data, $at, $need;
        $self->{head} .= $part;
        $self->{bytes} += length $part;
        $at += length $part;
        next if length $self->{head} < 4;
        my $head = $self->{head};
        $self->{head} = '';
        if ($head !~ /^[0-9a-f]{4}$/) {    # a bare pack, or not git at all
            $self->{raw} = 1;
            $self->{kind} = 'fetch' if !defined $self->{kind};
        } elsif ($head eq '0000') {
            $self->_answer_ends;
        } elsif (hex $head > 4) {
            $self->{left} = hex($head) - 4;
            $self->{first} = '' if !defined $self->{kind};
        }
    }
}

# Call it at the end of the stream: logs the answer that was cut short.
sub close {
    my ($self) = @_;
    $self->_answer_ends if $self->{bytes};
}

sub _packet_ends {
    my ($self) = @_;
    return if defined $self->{kind};
    my $p = $self->{first};
    $self->{v0_refs_seen} = 1 if $p =~ /\0/;
    $self->{kind} =
        $p =~ /^(?:version 2|# service=)/                 ? 'advertisement'
      : $p =~ /^(?:[0-9a-f]{40,64}|unborn) /              ? 'refs'
      : $p =~ /^(?:NAK|ACK |ERR |shallow |unshallow )/    ? 'fetch'
      : $p =~ /^(?:acknowledgments|shallow-info|wanted-refs|packfile)/ ? 'fetch'
      : 'other';
}

sub _answer_ends {
    my ($self) = @_;
    my $kind = defined $self->{kind} ? $self->{kind} : 'refs';    # an empty list
    if (open my $log, '>>', $self->{log}) {
        syswrite $log, "$self->{label} $kind $self->{bytes}\n";
    }
    $self->{bytes} = 0;
    # After the ref list of protocol v0 all the rest is one fetch.
    $self->{kind} = $self->{v0_refs_seen} ? 'fetch' : undef;
}

1;
