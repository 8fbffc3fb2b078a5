# Threads that build, parse and join strings, as those of a web server do; they live on.
require 'json'

WORDS = Random.new(15).then { |r| Array.new(2000) { r.bytes(6).unpack1('H*') } }
queue, done, kept = Queue.new, Queue.new, []
threads = Array.new(12) do
  Thread.new do
    while (number = queue.pop)
      random = Random.new(number)
      rows = Array.new(300) { |i| { id: i, text: Array.new(30 + random.rand(150)) { WORDS[random.rand(2000)] }.join(' ') } }
      page = JSON.generate(JSON.parse(JSON.generate(rows)))
      kept << rows[0][:text] if number % 20 == 0
      done << page.size
    end
  end
end
600.times { |number| queue << number }
600.times { done.pop }
3.times { GC.start }
File.write('ready', kept.size.to_s)
$stdin.read
