"""What glibc is: its structs and facts by release, and arithmetic with sizes and bins."""
