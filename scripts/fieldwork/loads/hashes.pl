# Count words into hashes of hashes, and let the hashes go.
use strict;
use warnings;

srand 15;
my @kept;
for my $turn (1 .. 3) {
    my %count;
    for (1 .. 400_000) {
        my $word = sprintf "%x", int rand 1e9;
        $count{substr $word, 0, 3}{$word} .= "x" x (1 + int rand 40);
    }
    push @kept, join ',', (sort keys %count)[0 .. 20];
}
open my $ready, '>', 'ready' or die;
close $ready;
<STDIN>;
